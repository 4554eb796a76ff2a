// Element-wise minimum and maximum of each page's keys (Quest, section 3.2), after RoPE.
#pragma once

#include <span>

#include "kernels/paged_kv.h"

namespace retrosim::kernels::host {

/// How an append or overwrite brings the summaries of the touched pages up to date (method.md, "Corner cases").
enum class SummaryRefresh : std::uint8_t {
  none,       // the layer keeps no summaries
  recompute,  // from all keys of each touched page
  widen,      // min/max of the old summary and the new keys: never shrinks
};

/// Summaries of every page of every sequence, from the tokens that are in the context (prefill).
void build_page_summaries(const KvShape& shape, const PageTable& table,
                          // [num_pages, num_kv_heads, 2, page_size, head_dim]
                          std::span<const float> kv_cache,
                          // [num_pages, num_kv_heads, 2 (min, max), head_dim]
                          std::span<float> summaries);

/// Recomputes, from all its keys in the context, the summary of each page that holds one of the last
/// `touched_tokens[b]` tokens of sequence b: at most ceil((touched - 1) / page_size) + 1 pages.
void recompute_page_summaries(const KvShape& shape, const PageTable& table,
                              // [batch] tokens
                              std::span<const std::int32_t> touched_tokens,
                              // [num_pages, num_kv_heads, 2, page_size, head_dim]
                              std::span<const float> kv_cache,
                              // [num_pages, num_kv_heads, 2 (min, max), head_dim]
                              std::span<float> summaries);

/// Widens the summaries by the keys of the last `touched_tokens[b]` tokens of sequence b. The current token, when it
/// opens a page, sets its summary; every other key only widens.
void widen_page_summaries(const KvShape& shape, const PageTable& table,
                          // [batch] tokens
                          std::span<const std::int32_t> touched_tokens,
                          // [num_pages, num_kv_heads, 2, page_size, head_dim]
                          std::span<const float> kv_cache,
                          // [num_pages, num_kv_heads, 2 (min, max), head_dim]
                          std::span<float> summaries);

}  // namespace retrosim::kernels::host
