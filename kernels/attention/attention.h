// Paged decode attention: over selected pages for the current query and, where they have not seen them, for older ones
// (method.md, steps 3 and 4); and over everything.
#pragma once

#include <span>

#include "kernels/paged_kv.h"

namespace retrosim::kernels::host {

/// How older rows leave out the pages that they have seen; both give the same result.
enum class UnseenMode : std::uint8_t {
  skip,  // such a page is not computed for that row
  mask,  // every loaded page is computed for every row, and masked
};

struct AttentionSizes {
  KvShape kv;
  std::int64_t num_q_heads = 0;
  std::int64_t window = 1;     // query rows per sequence in q, out and lse
  std::int64_t num_lists = 0;  // page lists per sequence: num_kv_heads, or num_q_heads when selection is per query head
  std::int64_t k_max = 0;      // columns of `selected`
};

/// Row 0 of sequence b is the query at t = context_len - 1 and attends to all tokens on its selected pages. Row s > 0
/// is the query at t - s: it attends to the selected pages with last_loaded < t - s that start at or before t - s, and
/// there to tokens at positions <= t - s only. Then every selected page is stamped with t in last_loaded. lse is the
/// natural logarithm of sum_j exp(q.k_j / sqrt(head_dim)); over nothing it is -infinity and the output is 0. Rows s >=
/// num_rows[b] do not exist: they are given output 0 and lse -infinity.
void sparse_attention(
    const AttentionSizes& sizes, const PageTable& table, UnseenMode mode,
    // [batch, window, num_q_heads, head_dim], row s is query t - s
    std::span<const float> q,
    // [num_pages, num_kv_heads, 2, page_size, head_dim]
    std::span<const float> kv_cache,
    // [batch, num_lists, k_max] logical page ids
    std::span<const std::int32_t> selected,
    // [batch, num_lists]
    std::span<const std::int32_t> counts,
    // [batch] rows that exist, in [1, window]
    std::span<const std::int32_t> num_rows,
    // [batch, num_lists, max_pages] step of the last load, -1: never; empty: not tracked (window 1 only)
    std::span<std::int32_t> last_loaded,
    // [batch, window, num_q_heads, head_dim]
    std::span<float> out,
    // [batch, window, num_q_heads]
    std::span<float> lse);

/// Every row attends to all tokens up to its own position, or, if sliding_window > 0, to the last sliding_window of
/// them. Sizes' num_lists and k_max are not used. Missing rows are as above.
void dense_attention(const AttentionSizes& sizes, const PageTable& table, std::int64_t sliding_window,
                     // [batch, window, num_q_heads, head_dim], row s is query t - s
                     std::span<const float> q,
                     // [num_pages, num_kv_heads, 2, page_size, head_dim]
                     std::span<const float> kv_cache,
                     // [batch] rows that exist, in [1, window]
                     std::span<const std::int32_t> num_rows,
                     // [batch, window, num_q_heads, head_dim]
                     std::span<float> out,
                     // [batch, window, num_q_heads]
                     std::span<float> lse);

/// Causal attention of the last `new_tokens` tokens of every sequence over the whole context, rows in ascending
/// position.
void prefill_attention(const KvShape& shape, const PageTable& table, std::int64_t num_q_heads, std::int64_t new_tokens,
                       std::int64_t sliding_window,
                       // [batch, new_tokens, num_q_heads, head_dim]
                       std::span<const float> q,
                       // [num_pages, num_kv_heads, 2, page_size, head_dim]
                       std::span<const float> kv_cache,
                       // [batch, new_tokens, num_q_heads, head_dim]
                       std::span<float> out);

}  // namespace retrosim::kernels::host

// The same in float32 with the CPU's vector instructions, for long decodes; results differ by rounding only.
namespace retrosim::kernels::simd {

/// As host::sparse_attention, skipping what has been seen.
void sparse_attention(const host::AttentionSizes& sizes, const PageTable& table, std::span<const float> q,
                      std::span<const float> kv_cache, std::span<const std::int32_t> selected,
                      std::span<const std::int32_t> counts, std::span<const std::int32_t> num_rows,
                      std::span<std::int32_t> last_loaded, std::span<float> out, std::span<float> lse);

/// As host::dense_attention.
void dense_attention(const host::AttentionSizes& sizes, const PageTable& table, std::int64_t sliding_window,
                     std::span<const float> q, std::span<const float> kv_cache, std::span<const std::int32_t> num_rows,
                     std::span<float> out, std::span<float> lse);

}  // namespace retrosim::kernels::simd
