// How decode attention divides a sequence's KV among blocks.
#pragma once

#include <cstdint>

namespace retrosim {

/// KV splits per sequence and KV head of one attention launch: as many as give every SM one block, never so many that a
/// block has less than a few pages. Used by the step graph and by the kernels alike.
std::int64_t attention_splits(std::int64_t batch, std::int64_t kv_heads, std::int64_t tokens_per_head, int sm_count);

}  // namespace retrosim
