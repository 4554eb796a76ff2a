// Quest's upper bound of q.k over each page.
#pragma once

#include <span>

#include "kernels/paged_kv.h"

namespace retrosim::kernels {

/// How the scores of the query heads of one group become one score per KV head.
enum class GroupReduction : std::uint8_t { max, mean, per_query_head };

/// Lists of pages per sequence: one per KV head, or one per query head when nothing is reduced.
constexpr std::int64_t selection_heads(GroupReduction reduction, std::int64_t num_q_heads, std::int64_t num_kv_heads) {
  return reduction == GroupReduction::per_query_head ? num_q_heads : num_kv_heads;
}

namespace host {

/// score(page) = reduction over the query group of sum_i max(q_i * kmin_i, q_i * kmax_i)  (Quest, section 3.2;
/// method.md). Pages beyond the context score -infinity.
void page_scores(const KvShape& shape, const PageTable& table, std::int64_t num_q_heads, GroupReduction reduction,
                 // [batch, q_stride] whose first num_q_heads * head_dim elements are the current query, after RoPE
                 std::span<const float> q, std::int64_t q_stride,
                 // [num_pages, num_kv_heads, 2 (min, max), head_dim]
                 std::span<const float> summaries,
                 // [batch, selection_heads, max_pages]
                 std::span<float> scores);

}  // namespace host

// In float32 with the CPU's vector instructions.
namespace simd {

/// As host::page_scores, up to rounding.
void page_scores(const KvShape& shape, const PageTable& table, std::int64_t num_q_heads, GroupReduction reduction,
                 std::span<const float> q, std::int64_t q_stride, std::span<const float> summaries,
                 std::span<float> scores);

/// score(page) = true attention mass of the current query on the page: mean over the heads of a list, whatever
/// `reduction` says of scores. Pages beyond the context score -infinity.
void page_masses(const KvShape& shape, const PageTable& table, std::int64_t num_q_heads, GroupReduction reduction,
                 std::span<const float> q, std::int64_t q_stride,
                 // [num_pages, num_kv_heads, 2 (K, V), page_size, head_dim]
                 std::span<const float> kv_cache,
                 // [batch, selection_heads, max_pages]
                 std::span<float> scores);

}  // namespace simd
}  // namespace retrosim::kernels
