// Counts and byte sizes of one sparse layer that the policies' cost formulas are written in; inside model/policies/.
#pragma once

#include <algorithm>
#include <cstdint>

#include "model/kv_format.h"
#include "model/step_graph.h"

namespace retrosim {

/// Bytes of an attention weight that a kernel writes out: 16-bit, as the models' activations.
inline constexpr std::int64_t kWeightBytes = 2;

struct LayerCounts {
  explicit LayerCounts(const LayerContext& layer)
      : b(layer.config.batch),
        hq(layer.q_heads),
        hk(layer.kv_heads),
        d(layer.config.llm.head_dim),
        page_size(layer.config.page_size),
        context(layer.context),
        attended(layer.tokens_loaded / (b * hk)),
        dtype(layer.config.kv_dtype),
        head_tokens(layer.tokens_loaded) {}

  std::int64_t b;            // sequences
  std::int64_t hq;           // query heads on this GPU
  std::int64_t hk;           // KV heads on this GPU
  std::int64_t d;            // head size
  std::int64_t page_size;    // tokens
  std::int64_t context;      // N, tokens
  std::int64_t attended;     // n, tokens per sequence and KV head, rounded down
  DType dtype;               // of the cache
  std::int64_t head_tokens;  // b * hk * n, exactly

  /// Keys and values of `vectors` (token, KV head) pairs.
  std::int64_t kv(std::int64_t vectors) const { return kv_bytes(dtype, vectors, d); }
  /// Keys and values of one token in every sequence and head of this GPU.
  std::int64_t token_kv() const { return kv(b * hk); }
  /// Attention weights of every query head over what it attends to.
  std::int64_t weights() const { return b * hq * attended * kWeightBytes; }
};

/// Min/max scores of `pages` summaries per KV head for `q_heads` query heads over `kv_heads`, by the implementation's
/// kernel.
inline PageScoreShape page_score_shape(const LayerContext& layer, std::int64_t pages, std::int64_t q_heads,
                                       std::int64_t kv_heads) {
  const Implementation& implementation = layer.config.implementation;
  return {.pages = pages,
          .batch = layer.config.batch,
          .num_q_heads = q_heads,
          .num_kv_heads = kv_heads,
          .head_dim = layer.config.llm.head_dim,
          .blocks = implementation.splits_page_score ? 0 : layer.config.batch * q_heads,
          .summaries_in_l2 = implementation.repeats_one_layer};
}

inline std::int64_t pages_of(std::int64_t tokens, std::int64_t page_size) {
  return (tokens + page_size - 1) / page_size;
}

/// Keys and values of one token in one layer, all KV heads. Bytes.
inline std::int64_t kv_bytes_of_layer(const LlmSpec& llm, DType dtype) {
  return kv_bytes(dtype, llm.num_kv_heads, llm.head_dim);
}

/// The GPU cache of a policy that holds everything in the dense layers and `kept_tokens` in each sparse one. Bytes.
inline std::int64_t gpu_kv_bytes(const LlmSpec& llm, DType dtype, std::int64_t context_tokens, std::int64_t kept_tokens,
                                 int page_size, int dense_layers) {
  const std::int64_t all = pages_of(context_tokens, page_size) * page_size;
  return kv_bytes_of_layer(llm, dtype) *
         (all * dense_layers + std::min(kept_tokens, all) * (llm.num_layers - dense_layers));
}

}  // namespace retrosim
