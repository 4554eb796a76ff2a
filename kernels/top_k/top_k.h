// The k best pages of every list of scores.
#pragma once

#include <span>

#include "kernels/paged_kv.h"

namespace retrosim::kernels::host {

/// Per sequence and list: the page being filled (the last one) and the min(k[b], pages) - 1 best of the others; ties go
/// to the lower page id. Page ids are logical and ascend; entries beyond the count are -1.
void select_top_k(const PageTable& table, std::int64_t page_size, std::int64_t lists_per_sequence, std::int64_t k_max,
                  // [batch, lists_per_sequence, max_pages]
                  std::span<const float> scores,
                  // [batch] pages to select, in [1, k_max]
                  std::span<const std::int32_t> k,
                  // [batch, lists_per_sequence, k_max]
                  std::span<std::int32_t> selected,
                  // [batch, lists_per_sequence]
                  std::span<std::int32_t> counts);

}  // namespace retrosim::kernels::host
