// Operations without a contraction: embedding, normalisation, rotation, gating, sampling.
#pragma once

#include <cstdint>

#include "model/dtype.h"
#include "model/kv_format.h"
#include "model/traffic.h"

namespace retrosim {

/// Gathers `rows` rows of the embedding table.
struct EmbeddingShape {
  std::int64_t rows = 0;
  std::int64_t hidden_size = 0;
  DType dtype = DType::bf16;

  Traffic bytes_moved() const {
    return {.weight_read = bytes_of(dtype, rows * hidden_size),
            .other_read = rows * 4,
            .other_write = bytes_of(dtype, rows * hidden_size)};
  }
  double flops() const { return 0; }
};

/// residual += x (when `adds_residual`), y = residual / rms(residual) * gain. `rows_from_cache` of the rows come from,
/// and `rows_to_cache` go to, the small cache of hidden rows that enter at the first sparse layer (method.md, "One
/// decoding step"), where they are with their residual: x is not read for them.
struct RmsNormShape {
  std::int64_t rows = 0;
  std::int64_t hidden_size = 0;
  bool adds_residual = false;
  DType dtype = DType::bf16;
  std::int64_t rows_from_cache = 0;
  std::int64_t rows_to_cache = 0;

  Traffic bytes_moved() const {
    const std::int64_t block = bytes_of(dtype, rows * hidden_size);
    return {.weight_read = bytes_of(dtype, hidden_size),
            .other_read = (adds_residual ? 2 * block - bytes_of(dtype, rows_from_cache * hidden_size) : block),
            .other_write = (adds_residual ? 2 : 1) * block + bytes_of(dtype, rows_to_cache * hidden_size)};
  }
  double flops() const { return static_cast<double>(rows * hidden_size) * (adds_residual ? 5.0 : 4.0); }
};

/// Rotates Q of all rows, appends K,V of `rows_appended` current tokens, overwrites K,V of `rows_overwritten` older
/// ones (K and V of other rows are not read), and refreshes the min/max summaries of the touched pages: incrementally
/// for an append into an open page, by reading `pages_recomputed` (summed over sequences) pages' keys again where a key
/// was overwritten.
struct RopeAppendShape {
  std::int64_t rows = 0;
  std::int64_t rows_appended = 0;
  std::int64_t rows_overwritten = 0;
  std::int64_t pages_recomputed = 0;   // page visits per KV head, summed over sequences
  std::int64_t keys_recomputed = 0;    // keys read for it per KV head, summed over sequences
  std::int64_t summaries_widened = 0;  // open pages whose summary is widened by the append, summed over sequences
  std::int64_t num_q_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  DType kv_dtype = DType::bf16;
  DType dtype = DType::bf16;
  bool qk_norm = false;

  Traffic bytes_moved() const {
    const std::int64_t q = rows * num_q_heads * head_dim;
    const std::int64_t kv = 2 * (rows_appended + rows_overwritten) * num_kv_heads * head_dim;
    const std::int64_t summary = 2 * num_kv_heads * head_dim * 2;  // min and max, 2 bytes each
    return {.summary_read = bytes_of(kv_dtype, keys_recomputed * num_kv_heads * head_dim) + summaries_widened * summary,
            .weight_read = qk_norm ? bytes_of(dtype, 2 * head_dim) : 0,
            .other_read = bytes_of(dtype, q + kv) + rows * 8,
            .kv_write = kv_bytes(kv_dtype, (rows_appended + rows_overwritten) * num_kv_heads, head_dim),
            .summary_write = (pages_recomputed + summaries_widened) * summary,
            .other_write = bytes_of(dtype, q)};
  }
  double flops() const {
    return 3.0 * static_cast<double>(rows * (num_q_heads + num_kv_heads) * head_dim) +
           2.0 * static_cast<double>((keys_recomputed + summaries_widened) * num_kv_heads * head_dim);
  }
};

/// y = silu(gate) * up, both halves of one [rows, 2 * intermediate_size] block.
struct SiluMulShape {
  std::int64_t rows = 0;
  std::int64_t intermediate_size = 0;
  DType dtype = DType::bf16;

  Traffic bytes_moved() const {
    return {.other_read = bytes_of(dtype, 2 * rows * intermediate_size),
            .other_write = bytes_of(dtype, rows * intermediate_size)};
  }
  double flops() const { return 6.0 * static_cast<double>(rows * intermediate_size); }
};

/// Greedy choice (arg max) over the logits of each sequence.
struct SampleShape {
  std::int64_t rows = 0;
  std::int64_t vocab_size = 0;
  DType dtype = DType::bf16;

  Traffic bytes_moved() const { return {.other_read = bytes_of(dtype, rows * vocab_size), .other_write = rows * 4}; }
  double flops() const { return static_cast<double>(rows * vocab_size); }
};

}  // namespace retrosim
