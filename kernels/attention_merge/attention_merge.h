// Merging partial attention by log-sum-exp, and the output cache of the retrospective window (method.md, step 5).
#pragma once

#include <span>

#include "kernels/paged_kv.h"

namespace retrosim::kernels::host {

/// lse' = log(exp(lse) + exp(lse_other)),  out' = out * exp(lse - lse') + out_other * exp(lse_other - lse').
/// An empty part (lse -infinity) leaves the other as it is, bit for bit; two empty parts stay empty with output 0.
void merge_attention_state(std::span<float> out, float& lse, std::span<const float> out_other, float lse_other);

/// Merges the KV splits of one launch: `rows` counts query rows times query heads.
void merge_splits(std::int64_t num_splits, std::int64_t rows, std::int64_t head_dim,
                  // [num_splits, rows, head_dim]
                  std::span<const float> partial_out,
                  // [num_splits, rows]
                  std::span<const float> partial_lse,
                  // [rows, head_dim]
                  std::span<float> out,
                  // [rows]
                  std::span<float> lse);

struct OutputCacheSizes {
  std::int64_t batch = 0;
  std::int64_t window = 1;  // query rows per sequence in out and lse
  std::int64_t slots = 0;   // of the ring: the full window - 1, also while fewer rows exist
  std::int64_t num_q_heads = 0;
  std::int64_t head_dim = 0;
};

/// Output cache of one layer: the entry of the query at position p is in slot p mod slots. Older row s (query t - s):
/// its entry is merged into out and lse, and the result stored back (Update). Row 0 is stored as it is (Push), in the
/// slot of the row that leaves the window (Pop). With slots == 0 nothing happens.
void merge_output_cache(const OutputCacheSizes& sizes,
                        // [batch] position t of each sequence's current query
                        std::span<const std::int32_t> positions,
                        // [batch] rows that exist, in [1, window]
                        std::span<const std::int32_t> num_rows,
                        // [slots, batch, num_q_heads, head_dim]
                        std::span<float> cache_values,
                        // [slots, batch, num_q_heads]
                        std::span<float> cache_lse,
                        // [batch, window, num_q_heads, head_dim]
                        std::span<float> out,
                        // [batch, window, num_q_heads]
                        std::span<float> lse);

}  // namespace retrosim::kernels::host
