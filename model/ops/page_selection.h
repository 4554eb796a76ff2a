// Quest's page selection: upper-bound scores from page summaries, then the k best pages per KV head.
#pragma once

#include <cstdint>

#include "model/traffic.h"

namespace retrosim {

/// score(page) = max over the query group of sum_i max(q_i * kmin_i, q_i * kmax_i)  (Quest, section 3.2; the group's
/// reduction: method.md). Summaries hold 2 bytes per element whatever the KV dtype.
struct PageScoreShape {
  std::int64_t pages = 0;  // per KV head, summed over sequences
  std::int64_t batch = 0;
  std::int64_t num_q_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t blocks = 0;       // of a kernel that is not split along the pages; 0: enough to fill the GPU
  bool summaries_in_l2 = false;  // where they fit: the same layer was scored just before

  Traffic bytes_moved() const {
    return {.summary_read = 2 * pages * num_kv_heads * head_dim * 2,
            .other_read = batch * num_q_heads * head_dim * 2 + pages * 4,
            .other_write = pages * num_kv_heads * 4};
  }
  double flops() const { return 4.0 * static_cast<double>(pages * num_q_heads * head_dim); }
};

/// The k best of `pages` scores per KV head; the page being filled is always among them.
struct TopKShape {
  std::int64_t pages = 0;     // per KV head, summed over sequences
  std::int64_t selected = 0;  // per KV head, summed over sequences
  std::int64_t batch = 0;
  std::int64_t num_kv_heads = 0;

  Traffic bytes_moved() const {
    return {.other_read = pages * num_kv_heads * 4, .other_write = selected * num_kv_heads * 4};
  }
  double flops() const { return static_cast<double>(pages * num_kv_heads); }
};

}  // namespace retrosim
