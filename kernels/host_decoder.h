// Decodes a real model on the CPU by running the step graph: the "execute" reader of the graph, with every operation
// done by its host reference kernel in float32.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/checkpoint/llm_weights.h"
#include "kernels/host_kv_cache.h"
#include "kernels/page_score/page_score.h"
#include "kernels/paged_kv.h"
#include "kernels/rope_append/rope_append.h"
#include "model/decode_config.h"
#include "model/step_graph.h"

namespace retrosim::kernels {

/// How the heavy operations are computed.
enum class HostArithmetic : std::uint8_t {
  reference,  // in double, rounded to float32: the reference kernels
  simd,       // in float32 with the CPU's vector instructions (forward/forward_math.h)
};

/// What ranks the pages of a policy that selects by score.
enum class PageRanking : std::uint8_t {
  key_bound,       // Quest's upper bound
  attention_mass,  // the current query's true attention mass, mean over the group: what no real system knows beforehand
};

struct HostDecoderOptions {
  std::int64_t max_tokens = 0;  // per sequence
  GroupReduction reduction = GroupReduction::max;
  // Keeps last_loaded and runs the merge for window 1 too, where they must change nothing (identity I2).
  bool always_track_pages = false;
  HostArithmetic arithmetic = HostArithmetic::reference;
  PageRanking ranking = PageRanking::key_bound;
  // The current query also attends to the pages chosen in the served_steps - 1 steps before (method.md, question 8).
  int served_steps = 1;
};

/// What one layer keeps from step to step, beside the pages of its keys and values.
struct HostLayerState {
  // [batch, lists, max_pages] step of each logical page's last load, -1: never; window > 1
  std::vector<std::int32_t> last_loaded;
  // [window - 1, batch, num_q_heads, head_dim] and [window - 1, batch, num_q_heads]: the entry of position p is in slot
  // p mod (window - 1)
  std::vector<float> output_cache_values;
  std::vector<float> output_cache_lse;
  // [batch, lists, k_max] logical pages of the last step, and [batch, lists]; sparse layers
  std::vector<std::int32_t> selected;
  std::vector<std::int32_t> selected_counts;
  // [batch, lists] of a policy that selects by score other than Quest
  std::vector<SelectionMemory> memory;
  // [batch, lists, max_pages] step in which the page was last among the chosen; served_steps > 1
  std::vector<std::int32_t> last_chosen;
};

/// A linear map that the decoder waits for: out[m, n] = input[m, k] weight[n, k]^T + bias.
struct PendingProduct {
  const Op* op = nullptr;
  std::int64_t m = 0, n = 0, k = 0;
  std::span<const float> input;
  std::span<const float> weight;
  std::span<const float> bias;  // [n], or empty
};

class HostDecoder {
 public:
  /// Keeps a reference to `weights`; their spec replaces config.llm, and config.context is not used. All sequences are
  /// equally long. Throws InputError for a configuration that validate() refuses, and for tensor parallelism.
  HostDecoder(const LlmWeights& weights, DecodeConfig config, const HostDecoderOptions& options);

  /// Continues one sequence (batch 1) of `num_tokens` tokens whose keys and values lie in `cache`, which other decoders
  /// may read too. page_table: physical pages of the sequence, for options.max_tokens; this decoder alone writes to
  /// those that hold later tokens. Summaries of the whole context must be there in sparse layers.
  HostDecoder(const LlmWeights& weights, DecodeConfig config, const HostDecoderOptions& options,
              std::shared_ptr<HostKvCache> cache, std::vector<std::int32_t> page_table, std::int64_t num_tokens);

  /// Runs `tokens` [batch, tokens per sequence] after what is there, with full attention. Returns the logits after the
  /// last token of each sequence: [batch, vocab].
  const std::vector<float>& prefill(std::span<const std::int32_t> tokens);

  /// One decode step with one token per sequence: [batch]. Returns the logits: [batch, vocab].
  const std::vector<float>& step(std::span<const std::int32_t> tokens);

  /// The same step in pieces, so that decoders can share the products' weights (lockstep_decoders.h): begin_step(),
  /// then supply() the result of each next_product() until there is none; then logits() are the step's.
  void begin_step(std::span<const std::int32_t> tokens);
  std::optional<PendingProduct> next_product();
  void supply(std::vector<float> product) { block_ = std::move(product); }
  /// Of the last prefill or step: [batch, vocab].
  const std::vector<float>& logits() const { return block_; }

  /// Greedy choice of the last prefill or step. [batch]
  const std::vector<std::int32_t>& sampled() const { return sampled_; }
  /// What the last step's selection came to, counted while it ran. Per-query-head selection counts per query head.
  const StepDemand& demand() const { return demand_; }
  /// The graph that the last prefill or step ran.
  const StepGraph& graph() const { return graph_; }
  const HostLayerState& layer(int layer) const { return layers_[static_cast<std::size_t>(layer)]; }
  const std::vector<float>& kv_cache(int layer) const { return cache_->layers[static_cast<std::size_t>(layer)].kv; }
  const KvShape& kv_shape() const { return cache_->shape; }
  std::int64_t num_tokens() const { return num_tokens_; }

 private:
  void begin(std::span<const std::int32_t> tokens);
  const std::vector<float>& finish();
  void execute(const Op& op);
  void execute(const Op& op, const EmbeddingShape& shape);
  void execute(const Op& op, const RmsNormShape& shape);
  void execute(const Op& op, const RopeAppendShape& shape);
  void execute(const Op& op, const PageScoreShape& shape);
  void execute(const Op& op, const TopKShape& shape);
  void execute(const Op& op, const AttentionShape& shape);
  void execute(const Op& op, const AttentionMergeShape& shape);
  void attend(const Op& op, const AttentionShape& shape);
  void execute(const Op& op, const PrefillAttentionShape& shape);
  void execute(const Op& op, const SiluMulShape& shape);
  void execute(const Op& op, const SampleShape& shape);
  template <typename Shape>
  [[noreturn]] void execute(const Op& op, const Shape& shape);

  bool is_simd() const { return options_.arithmetic == HostArithmetic::simd; }
  bool is_retro() const { return config_.window > 1; }
  bool tracks_pages() const { return is_retro() || options_.always_track_pages; }
  std::int64_t lists() const;
  PageTable table() const;
  const LayerWeights& weights_of(const Op& op) const { return weights_.layers[static_cast<std::size_t>(op.layer)]; }
  HostLayerState& state_of(const Op& op) { return layers_[static_cast<std::size_t>(op.layer)]; }
  HostKvCache::Layer& pages_of(int layer) { return cache_->layers[static_cast<std::size_t>(layer)]; }
  PendingProduct product_of(const Op& op) const;
  std::vector<host::TokenRow> token_rows(bool overwrites) const;
  void join_older_rows();
  void keep_head_rows();
  void score_pages(int layer);
  void select_by_policy(HostLayerState& state);
  void select_without_scores(int layer);
  void serve_earlier_choices(HostLayerState& state);
  void count_demand(int layer, std::int64_t context);

  const LlmWeights& weights_;
  DecodeConfig config_;
  HostDecoderOptions options_;
  std::int64_t max_pages_;  // per sequence
  std::shared_ptr<HostKvCache> cache_;
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
  std::vector<std::int32_t> tokens_;
  bool has_selection_ = false;  // of the current layer
  StepGraph graph_;
  StepGraph::Vertex next_vertex_ = 0;
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
