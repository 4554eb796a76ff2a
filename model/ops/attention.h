// Paged decode attention for w queries per sequence, its merge, and prefill attention.
#pragma once

#include <algorithm>
#include <cstdint>

#include "model/dtype.h"
#include "model/kv_format.h"
#include "model/traffic.h"

namespace retrosim {

/// Merges the splits of every query row by log-sum-exp and, for w > 1, merges the older rows with the output cache,
/// stores them back (Update), pushes the current row (Push) and lets the oldest leave (Pop) (method.md step 5).
struct AttentionMergeShape {
  std::int64_t batch = 0;
  std::int64_t window = 1;
  std::int64_t rows = 0;         // query rows of all sequences
  std::int64_t cached_rows = 0;  // rows with an entry in the output cache (older rows), all sequences
  std::int64_t num_q_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t num_splits = 1;
  DType output_cache_dtype = DType::bf16;

  /// Bytes of one row's entry: values in the cache's dtype and one float32 log-sum-exp per head.
  std::int64_t entry_bytes() const { return num_q_heads * (bytes_of(output_cache_dtype, head_dim) + 4); }
  /// Partial results: one value row and one log-sum-exp per split, query row and head, in float32.
  std::int64_t partial_bytes() const { return num_splits * rows * num_q_heads * (head_dim + 1) * 4; }
  Traffic bytes_moved() const {
    return {.output_cache_read = cached_rows * entry_bytes(),
            .other_read = partial_bytes(),
            .output_cache_write = window > 1 ? std::min(rows, batch * (window - 1)) * entry_bytes() : 0,
            .other_write = rows * num_q_heads * head_dim * 2};
  }
  double flops() const { return 4.0 * static_cast<double>((num_splits * rows + cached_rows) * num_q_heads * head_dim); }
};

/// One launch of decode attention over the selected pages of every sequence (all pages when dense): each page is read
/// once and serves the current query and, where it is unseen by them, up to w-1 older queries (method.md steps 3 and
/// 4).
struct AttentionShape {
  std::int64_t batch = 0;
  std::int64_t num_q_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t page_size = 0;
  std::int64_t window = 1;          // query rows per sequence, the current one included
  std::int64_t rows = 0;            // query rows of all sequences: batch * window once the window is full
  std::int64_t pages_loaded = 0;    // summed over sequences and KV heads
  std::int64_t tokens_loaded = 0;   // valid tokens on those pages, summed likewise
  std::int64_t unseen_visits = 0;   // sum over s of |U_s|, summed over sequences and KV heads; 0 for window 1
  std::int64_t unseen_union = 0;    // |U_1| u ... u |U_{w-1}| = the largest U, summed likewise
  bool masked = false;              // older rows are computed on every loaded page and masked, instead of skipped
  bool tracks_last_loaded = false;  // reads and stamps last_loaded of each loaded page
  std::int64_t num_splits = 1;      // KV splits per sequence and KV head
  DType kv_dtype = DType::bf16;
  // The launch does the merge as well, and no AttentionMergeShape follows.
  bool merges = false;
  std::int64_t cached_rows = 0;            // as AttentionMergeShape's
  DType output_cache_dtype = DType::bf16;  // likewise
  // On CUDA cores, once per query head: instructions per element of keys and values; 0: on tensor cores.
  double instructions_per_element = 0;

  std::int64_t query_group() const { return num_q_heads / num_kv_heads; }
  AttentionMergeShape merge() const {
    return {.batch = batch,
            .window = window,
            .rows = rows,
            .cached_rows = cached_rows,
            .num_q_heads = num_q_heads,
            .head_dim = head_dim,
            .num_splits = num_splits,
            .output_cache_dtype = output_cache_dtype};
  }
  /// Operations on CUDA cores beside the products, a multiply-add counted as two: widening stored elements, or all of a
  /// kernel that does not use tensor cores.
  double cuda_core_flops() const {
    const std::int64_t elements = 2 * tokens_loaded * head_dim;
    if (instructions_per_element <= 0) return dequantise_flops(kv_dtype, elements);
    return 2.0 * instructions_per_element * static_cast<double>(query_group() * elements);
  }
  Traffic bytes_moved() const {
    Traffic traffic{.kv_read = kv_bytes(kv_dtype, tokens_loaded, head_dim),
                    .other_read = rows * num_q_heads * head_dim * 2 + pages_loaded * (tracks_last_loaded ? 12 : 8),
                    .other_write = tracks_last_loaded ? pages_loaded * 4 : 0};
    const AttentionMergeShape rows_merged = merge();
    if (!merges || num_splits > 1) traffic.other_write += rows_merged.partial_bytes();
    if (!merges) return traffic;
    traffic += rows_merged.bytes_moved();
    // One split stays in its block; several are exchanged, and what is read is written over.
    if (num_splits == 1) traffic.other_read -= rows_merged.partial_bytes();
    if (num_splits > 1) traffic.other_write += rows_merged.partial_bytes();
    return traffic;
  }
  double flops() const {
    const double per_token = 4.0 * static_cast<double>(query_group() * head_dim);
    const std::int64_t older_tokens = masked ? tokens_loaded * (window - 1) : unseen_visits * page_size;
    return per_token * static_cast<double>(tokens_loaded + older_tokens) + (merges ? merge().flops() : 0.0);
  }
};

/// Causal attention of `new_tokens` prompt tokens per sequence over `context_before` + themselves; writes no KV.
struct PrefillAttentionShape {
  std::int64_t batch = 0;
  std::int64_t new_tokens = 0;      // per sequence
  std::int64_t context_before = 0;  // tokens already in the cache, per sequence
  std::int64_t sliding_window = 0;  // 0: none
  std::int64_t num_q_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  DType kv_dtype = DType::bf16;

  /// Pairs (query, visible key) of one sequence and head.
  double visible_pairs() const {
    const auto n = static_cast<double>(new_tokens);
    const auto before = static_cast<double>(context_before);
    if (sliding_window <= 0) return n * before + n * (n + 1) / 2;
    double pairs = 0;  // positions below the window see everything before them, later ones exactly the window
    const auto window = static_cast<double>(sliding_window);
    const double growing = std::clamp(window - before, 0.0, n);
    pairs += growing * before + growing * (growing + 1) / 2;
    pairs += (n - growing) * window;
    return pairs;
  }
  Traffic bytes_moved() const {
    std::int64_t keys = context_before + new_tokens;
    if (sliding_window > 0) keys = std::min(keys, sliding_window + new_tokens);
    return {.kv_read = batch * kv_bytes(kv_dtype, keys * num_kv_heads, head_dim),
            .other_read = batch * new_tokens * num_q_heads * head_dim * 2,
            .other_write = batch * new_tokens * num_q_heads * head_dim * 2};
  }
  double flops() const { return 4.0 * static_cast<double>(batch * num_q_heads * head_dim) * visible_pairs(); }
};

}  // namespace retrosim
