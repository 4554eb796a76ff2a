// What one layer's attention loaded, and what of it older queries had not seen (method.md, step 4).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/decode_config.h"

namespace retrosim {

/// Selected pages by sequence and KV head: [batch][kv heads][count].
using SelectedPages = std::vector<std::vector<std::vector<std::int32_t>>>;

/// The demand of one layer whose sequences have `context` tokens. `overlap_sum` gets the number of pages that the step
/// before loaded as well.
LayerDemand count_demand(
    const SelectedPages& selected, std::int64_t context, int page_size, int window,
    // [batch, kv heads, max_pages] step of the last load before this one, -1: never; empty: not kept
    std::span<const std::int32_t> last_loaded, std::int64_t max_pages, std::int64_t& overlap_sum);

}  // namespace retrosim
