// How decode attention divides a sequence's KV among blocks, and who merges what they make of it.
#pragma once

#include <cstdint>

#include "model/dtype.h"

namespace retrosim {

/// KV splits per sequence and KV head of one attention launch: as many as give every SM one block, never so many that a
/// block has less than a few pages. Used by the step graph and by the kernels alike.
std::int64_t attention_splits(std::int64_t batch, std::int64_t kv_heads, std::int64_t tokens_per_head, int sm_count);

/// Whether the blocks of one attention launch merge their splits and rows themselves (our kernels): where they are not
/// split, or all run at once and so can wait for one another; `rows_per_list` query rows (window times query heads that
/// share a page list) fit one block. Used by the step graph and by the kernels alike.
bool attention_can_merge(DType kv_dtype, std::int64_t rows_per_list, std::int64_t lists, std::int64_t num_splits,
                         int sm_count);

}  // namespace retrosim
