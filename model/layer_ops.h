// The parts of a transformer layer that decode steps and prefill have in common, as operations of the step graph.
#pragma once

#include <cstdint>

#include "model/step_graph.h"

namespace retrosim {

/// Sizes of one GPU's share of a tensor-parallel layer.
struct LocalShape {
  explicit LocalShape(const DecodeConfig& config)
      : hidden(config.llm.hidden_size),
        q_heads(local_q_heads(config)),
        kv_heads(local_kv_heads(config)),
        head_dim(config.llm.head_dim),
        num_gpus(config.tensor_parallel_size) {}

  std::int64_t hidden;
  std::int64_t q_heads;
  std::int64_t kv_heads;
  std::int64_t head_dim;
  int num_gpus;
};

/// Pages whose min/max summaries one sequence's overwritten tokens make stale, and the keys on them that must be read
/// again: those before the overwritten ones, whose new keys the same launch has at hand.
struct TouchedPages {
  std::int64_t pages = 0;
  std::int64_t keys = 0;
  bool holds_current = false;  // the page of the newest token is among them
};

/// The `older` tokens before the newest of `context` tokens (method.md: at most ceil((w-1)/P) + 1 pages).
TouchedPages touched_pages(std::int64_t context, int page_size, std::int64_t older);

/// Partial results that a layer's product of `rows` rows over `k` columns leaves (MatmulShape::splits); 1 where its
/// kernel writes results.
std::int64_t splits_of_layer_product(const DecodeConfig& config, std::int64_t rows, std::int64_t k);

/// RMSNorm and QKV projection. The norm's `product_splits` are filled in.
void add_attention_input(const DecodeConfig& config, const LocalShape& local, int layer, const RmsNormShape& norm,
                         StepGraphBuilder& graph);

/// Output projection, all-reduce, RMSNorm, MLP (dense or mixture of experts), all-reduce.
void add_attention_output_and_mlp(const DecodeConfig& config, const LocalShape& local, int layer, std::int64_t rows,
                                  StepGraphBuilder& graph);

/// Final RMSNorm, LM head and greedy sampling of one row per sequence.
void add_head(const DecodeConfig& config, const LocalShape& local, StepGraphBuilder& graph);

}  // namespace retrosim
