// The operations of one decode step, layer by layer (method.md, "One decoding step").
#include <algorithm>

#include "model/attention_splits.h"
#include "model/layer_ops.h"
#include "model/step_graph.h"

namespace retrosim {
namespace {

/// Of a count summed over all KV heads, the part of one GPU that holds `local` of `all` heads; rounded up.
std::int64_t local_share(std::int64_t count, std::int64_t local, std::int64_t all) {
  return (count * local + all - 1) / all;
}

class DecodeStep {
 public:
  DecodeStep(const DecodeConfig& config, const StepDemand& demand, StepGraphBuilder& graph)
      : config_(config),
        demand_(demand),
        graph_(graph),
        local_(config),
        context_(demand.context),
        num_pages_((demand.context + config.page_size - 1) / config.page_size),
        first_sparse_(config.first_sparse_layer()) {}

  void add() {
    graph_.add(EmbeddingShape{.rows = config_.batch * config_.rows_per_sequence(0),
                              .hidden_size = config_.llm.hidden_size,
                              .dtype = config_.llm.weight_dtype},
               "embedding", -1);
    for (int layer = 0; layer < config_.llm.num_layers; ++layer) add_layer(layer);
    add_head(config_, local_, graph_);
  }

 private:
  /// Layer at which older rows join the block: l0, or the first layer when they are carried through all of them.
  int entry_layer() const { return config_.carry_older_rows_through_dense_layers ? 0 : first_sparse_; }

  void add_layer(int layer) {
    const std::int64_t rows_per_sequence = config_.rows_per_sequence(layer);
    const std::int64_t rows = config_.batch * rows_per_sequence;
    RmsNormShape norm{.rows = rows, .hidden_size = local_.hidden, .adds_residual = layer > 0};
    if (rows_per_sequence > 1 && layer == entry_layer() && layer > 0) {
      norm.rows_from_cache = rows - config_.batch;
      norm.rows_to_cache = config_.batch;
    }
    add_attention_input(config_, local_, layer, norm, graph_);
    graph_.add(rope_append(layer, rows), "rope_append", layer);
    if (config_.is_sparse(layer)) {
      const LayerContext context = sparse_layer(layer);
      config_.policy->add_selection_ops(context, graph_);
      add_attention(layer, rows_per_sequence, rows);
      config_.policy->add_after_attention_ops(context, graph_);
    } else {
      add_attention(layer, rows_per_sequence, rows);
    }
    add_attention_output_and_mlp(config_, local_, layer, rows, graph_);
  }

  LayerContext sparse_layer(int layer) const {
    const LayerDemand& demand = demand_.layers[static_cast<std::size_t>(layer)];
    const std::int64_t all = config_.llm.num_kv_heads;
    return {.config = config_,
            .demand = demand,
            .layer = layer,
            .context = context_,
            .num_pages = num_pages_,
            .q_heads = local_.q_heads,
            .kv_heads = local_.kv_heads,
            .position = demand_.position >= 0 ? demand_.position : context_ - 1,
            .pages_loaded = local_share(demand.pages_loaded, local_.kv_heads, all),
            .tokens_loaded = local_share(demand.tokens_loaded, local_.kv_heads, all),
            .recalled_pages = local_share(demand.recalled_pages, local_.kv_heads, all)};
  }

  RopeAppendShape rope_append(int layer, std::int64_t rows) const {
    RopeAppendShape shape{.rows = rows,
                          .rows_appended = config_.batch,
                          .num_q_heads = local_.q_heads,
                          .num_kv_heads = local_.kv_heads,
                          .head_dim = local_.head_dim,
                          .kv_dtype = config_.kv_dtype,
                          .qk_norm = config_.llm.qk_norm,
                          .product_splits = splits_of_layer_product(config_, rows, local_.hidden)};
    // Up to and at l0 the older rows' inputs, and so their keys and values, never change.
    const bool revises = layer > first_sparse_ || config_.carry_older_rows_through_dense_layers;
    if (revises) shape.rows_overwritten = rows - config_.batch;
    if (!config_.is_sparse(layer) || !config_.policy->keeps_page_summaries()) return shape;
    const TouchedPages touched = touched_pages(context_, config_.page_size, shape.rows_overwritten / config_.batch);
    if (config_.widen_summaries) {
      shape.summaries_widened = config_.batch * (touched.pages + (touched.holds_current ? 0 : 1));
    } else {
      shape.pages_recomputed = config_.batch * touched.pages;
      shape.keys_recomputed = config_.batch * touched.keys;
      shape.summaries_widened = touched.holds_current ? 0 : config_.batch;
    }
    return shape;
  }

  void add_attention(int layer, std::int64_t rows_per_sequence, std::int64_t rows) {
    AttentionShape shape{.batch = config_.batch,
                         .num_q_heads = local_.q_heads,
                         .num_kv_heads = local_.kv_heads,
                         .head_dim = local_.head_dim,
                         .page_size = config_.page_size,
                         .window = rows_per_sequence,
                         .rows = rows,
                         .kv_dtype = config_.kv_dtype,
                         .instructions_per_element = config_.implementation.attention_instructions_per_element};
    if (config_.is_sparse(layer)) {
      const LayerDemand& demand = demand_.layers[static_cast<std::size_t>(layer)];
      const std::int64_t all = config_.llm.num_kv_heads;
      shape.pages_loaded = local_share(demand.pages_loaded, local_.kv_heads, all);
      shape.tokens_loaded = local_share(demand.tokens_loaded, local_.kv_heads, all);
      if (rows_per_sequence > 1) {
        shape.unseen_visits = local_share(demand.unseen_visits, local_.kv_heads, all);
        shape.unseen_union = local_share(demand.unseen_union, local_.kv_heads, all);
        shape.tracks_last_loaded = true;
        shape.masked = config_.mask_unseen_rows;
      }
      config_.policy->shape_attention(sparse_layer(layer), shape);
    } else {
      // Dense: all tokens, or the last ones of a sliding window; older queries have seen all of them.
      const std::int64_t window = config_.llm.layer_sliding_window.empty()
                                      ? 0
                                      : config_.llm.layer_sliding_window[static_cast<std::size_t>(layer)];
      const std::int64_t tokens = window > 0 ? std::min(window, context_) : context_;
      const std::int64_t pages = (context_ - 1) / config_.page_size - (context_ - tokens) / config_.page_size + 1;
      shape.pages_loaded = config_.batch * local_.kv_heads * pages;
      shape.tokens_loaded = config_.batch * local_.kv_heads * tokens;
    }
    shape.num_splits = attention_splits(config_.batch, local_.kv_heads,
                                        shape.tokens_loaded / (config_.batch * local_.kv_heads), config_.sm_count);
    shape.cached_rows = rows - config_.batch;
    shape.output_cache_dtype = config_.output_cache_dtype;
    shape.merges = config_.merges_in_attention &&
                   attention_can_merge(shape.kv_dtype, shape.window * shape.query_group(),
                                       config_.batch * local_.kv_heads, shape.num_splits, config_.sm_count);
    graph_.add(shape, "attention", layer);
    if (!shape.merges) graph_.add(shape.merge(), "attention_merge", layer);
  }

  const DecodeConfig& config_;
  const StepDemand& demand_;
  StepGraphBuilder& graph_;
  LocalShape local_;
  std::int64_t context_;
  std::int64_t num_pages_;
  int first_sparse_;
};

}  // namespace

StepGraph build_decode_step(const DecodeConfig& config, const StepDemand& demand) {
  validate(config);
  StepGraph graph;
  StepGraphBuilder builder(graph);
  DecodeStep(config, demand, builder).add();
  return graph;
}

bool update_decode_step(StepGraph& graph, const DecodeConfig& config, const StepDemand& demand) {
  StepGraphBuilder builder(graph);
  DecodeStep(config, demand, builder).add();
  if (builder.matches() && builder.size() == graph.size()) return true;
  graph = build_decode_step(config, demand);
  return false;
}

}  // namespace retrosim
