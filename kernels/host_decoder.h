// Decodes a real model on the CPU by running the step graph: the "execute" reader of the graph, with every operation
// done by its host reference kernel in float32.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/checkpoint/llm_weights.h"
#include "kernels/page_score/page_score.h"
#include "kernels/paged_kv.h"
#include "kernels/rope_append/rope_append.h"
#include "model/decode_config.h"
#include "model/step_graph.h"

namespace retrosim::kernels {

struct HostDecoderOptions {
  std::int64_t max_tokens = 0;  // per sequence
  GroupReduction reduction = GroupReduction::max;
  // Keeps last_loaded and runs the merge for window 1 too, where they must change nothing (identity I2).
  bool always_track_pages = false;
};

/// What one layer keeps from step to step.
struct HostLayerState {
  // [num_pages, num_kv_heads, 2 (K, V), page_size, head_dim]
  std::vector<float> kv_cache;
  // [num_pages, num_kv_heads, 2 (min, max), head_dim], sparse layers of a policy that keeps them
  std::vector<float> summaries;
  // [batch, lists, max_pages] step of each logical page's last load, -1: never; window > 1
  std::vector<std::int32_t> last_loaded;
  // [window - 1, batch, num_q_heads, head_dim] and [window - 1, batch, num_q_heads]: the entry of position p is in slot
  // p mod (window - 1)
  std::vector<float> output_cache_values;
  std::vector<float> output_cache_lse;
  // [batch, lists, k_max] logical pages of the last step, and [batch, lists]; sparse layers
  std::vector<std::int32_t> selected;
  std::vector<std::int32_t> selected_counts;
};

class HostDecoder {
 public:
  /// Keeps a reference to `weights`; their spec replaces config.llm, and config.context is not used. All sequences are
  /// equally long. Throws InputError for a configuration that validate() refuses, and for tensor parallelism.
  HostDecoder(const LlmWeights& weights, DecodeConfig config, const HostDecoderOptions& options);

  /// Runs `tokens` [batch, tokens per sequence] after what is there, with full attention. Returns the logits after the
  /// last token of each sequence: [batch, vocab].
  const std::vector<float>& prefill(std::span<const std::int32_t> tokens);

  /// One decode step with one token per sequence: [batch]. Returns the logits: [batch, vocab].
  const std::vector<float>& step(std::span<const std::int32_t> tokens);

  /// Greedy choice of the last prefill or step. [batch]
  const std::vector<std::int32_t>& sampled() const { return sampled_; }
  /// What the last step's selection came to, counted while it ran. Per-query-head selection counts per query head.
  const StepDemand& demand() const { return demand_; }
  /// The graph that the last prefill or step ran.
  const StepGraph& graph() const { return graph_; }
  const HostLayerState& layer(int layer) const { return layers_[static_cast<std::size_t>(layer)]; }
  const KvShape& kv_shape() const { return kv_; }
  std::int64_t num_tokens() const { return num_tokens_; }

 private:
  const std::vector<float>& run(std::span<const std::int32_t> tokens);
  void execute(const Op& op);
  void execute(const Op& op, const EmbeddingShape& shape);
  void execute(const Op& op, const RmsNormShape& shape);
  void execute(const Op& op, const MatmulShape& shape);
  void execute(const Op& op, const RopeAppendShape& shape);
  void execute(const Op& op, const PageScoreShape& shape);
  void execute(const Op& op, const TopKShape& shape);
  void execute(const Op& op, const AttentionShape& shape);
  void execute(const Op& op, const AttentionMergeShape& shape);
  void execute(const Op& op, const PrefillAttentionShape& shape);
  void execute(const Op& op, const SiluMulShape& shape);
  void execute(const Op& op, const SampleShape& shape);
  template <typename Shape>
  [[noreturn]] void execute(const Op& op, const Shape& shape);

  bool is_retro() const { return config_.window > 1; }
  bool tracks_pages() const { return is_retro() || options_.always_track_pages; }
  std::int64_t lists() const;
  PageTable table() const;
  const LayerWeights& weights_of(const Op& op) const { return weights_.layers[static_cast<std::size_t>(op.layer)]; }
  HostLayerState& state_of(const Op& op) { return layers_[static_cast<std::size_t>(op.layer)]; }
  std::vector<host::TokenRow> token_rows(bool overwrites) const;
  void join_older_rows();
  void keep_head_rows();
  void select_without_scores(HostLayerState& state);
  void count_demand(int layer, std::int64_t context);

  const LlmWeights& weights_;
  DecodeConfig config_;
  HostDecoderOptions options_;
  KvShape kv_;
  std::int64_t max_pages_;  // per sequence
  std::vector<double> frequencies_;
  std::vector<std::int32_t> page_table_;    // [batch, max_pages]
  std::vector<std::int32_t> context_lens_;  // [batch]
  std::vector<HostLayerState> layers_;
  std::vector<float> hidden_ring_;        // [window - 1, batch, hidden] entering the first sparse layer
  std::vector<std::int32_t> token_ring_;  // [window, batch]
  std::int64_t num_tokens_ = 0;
  std::int64_t num_steps_ = 0;

  // Of the run in progress.
  bool is_prefill_ = false;
  std::int64_t rows_per_sequence_ = 1;  // of the block as it is now
  std::vector<std::int32_t> num_rows_;  // [batch] rows that exist
  std::span<const std::int32_t> tokens_;
  bool has_selection_ = false;  // of the current layer
  StepGraph graph_;
  StepDemand demand_;
  std::vector<float> residual_;   // [batch, rows_per_sequence, hidden]
  std::vector<float> block_;      // output of the last operation, input of the next
  std::vector<float> q_;          // [batch, rows_per_sequence, num_q_heads, head_dim]
  std::vector<float> attention_;  // as q_
  std::vector<float> lse_;        // [batch, rows_per_sequence, num_q_heads]
  std::vector<float> scores_;     // [batch, lists, max_pages]
  std::vector<std::int32_t> sampled_;
};

}  // namespace retrosim::kernels
