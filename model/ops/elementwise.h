// Operations without a contraction: embedding, normalisation, rotation, gating, sampling.
#pragma once

#include <cstdint>

#include "model/dtype.h"
#include "model/kv_format.h"
#include "model/traffic.h"

namespace retrosim {

/// Bytes of `elements` of a product's result as its reader finds them: `splits` float32 partial results where there are
/// several (MatmulShape::splits), else one of `dtype`.
constexpr std::int64_t product_bytes(DType dtype, std::int64_t elements, std::int64_t splits) {
  return splits > 1 ? splits * elements * 4 : bytes_of(dtype, elements);
}

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
  std::int64_t product_splits = 1;  // partial results that make up x

  Traffic bytes_moved() const {
    const std::int64_t block = bytes_of(dtype, rows * hidden_size);
    return {
        .weight_read = bytes_of(dtype, hidden_size),
        .other_read =
            block + (adds_residual ? product_bytes(dtype, (rows - rows_from_cache) * hidden_size, product_splits) : 0),
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
  std::int64_t keys_recomputed = 0;    // older keys read again for it per KV head, summed over sequences
  std::int64_t summaries_widened = 0;  // open pages whose summary is widened by the append, summed over sequences
  std::int64_t num_q_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  DType kv_dtype = DType::bf16;
  DType dtype = DType::bf16;
  bool qk_norm = false;
  std::int64_t product_splits = 1;  // partial results that make up Q, K and V

  Traffic bytes_moved() const {
    const std::int64_t q = rows * num_q_heads * head_dim;
    const std::int64_t kv = 2 * (rows_appended + rows_overwritten) * num_kv_heads * head_dim;
    const std::int64_t summary = 2 * num_kv_heads * head_dim * 2;  // min and max, 2 bytes each
    return {.summary_read = bytes_of(kv_dtype, keys_recomputed * num_kv_heads * head_dim) + summaries_widened * summary,
            .weight_read = qk_norm ? bytes_of(dtype, 2 * head_dim) : 0,
            .other_read = product_bytes(dtype, q + kv, product_splits) + rows * 8,
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
  std::int64_t product_splits = 1;  // partial results that make up gate and up

  Traffic bytes_moved() const {
    return {.other_read = product_bytes(dtype, 2 * rows * intermediate_size, product_splits),
            .other_write = bytes_of(dtype, rows * intermediate_size)};
  }
  double flops() const { return 6.0 * static_cast<double>(rows * intermediate_size); }
};

/// Greedy choice (arg max) over the logits of each sequence.
struct SampleShape {
  std::int64_t rows = 0;
  std::int64_t vocab_size = 0;
  DType dtype = DType::bf16;
  std::int64_t product_splits = 1;  // partial results that make up the logits

  Traffic bytes_moved() const {
    return {.other_read = product_bytes(dtype, rows * vocab_size, product_splits), .other_write = rows * 4};
  }
  double flops() const { return static_cast<double>(rows * vocab_size); }
};

}  // namespace retrosim
