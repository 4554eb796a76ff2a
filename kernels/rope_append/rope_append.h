// Rotating queries and keys, and storing keys and values in the paged cache.
#pragma once

#include <span>

#include "kernels/paged_kv.h"

namespace retrosim::kernels::host {

/// One row of a block of tokens.
struct TokenRow {
  std::int32_t sequence = 0;
  std::int32_t position = 0;  // from 0
  bool writes_kv = false;     // appends, or overwrites, the keys and values at its position
};

/// Normalisation of each query and key head before rotation (Qwen3); empty gains mean none.
struct QkNorm {
  // [head_dim] each
  std::span<const float> q_gain;
  std::span<const float> k_gain;
  double epsilon = 0;
};

/// Rotates queries and keys of every row to its position, writes the queries out and, for rows that say so, keys and
/// values into their pages. Summaries are refreshed by the functions of page_summary.h afterwards.
void rope_append(const KvShape& shape, const PageTable& table, std::int64_t num_q_heads,
                 // [rows]
                 std::span<const TokenRow> rows,
                 // [head_dim / 2] radians per position
                 std::span<const double> frequencies, const QkNorm& norm,
                 // [rows, num_q_heads + 2 * num_kv_heads, head_dim]: Q, K, V
                 std::span<const float> qkv,
                 // [rows, num_q_heads, head_dim]
                 std::span<float> q,
                 // [num_pages, num_kv_heads, 2 (K, V), page_size, head_dim]
                 std::span<float> kv_cache);

}  // namespace retrosim::kernels::host
