// The step graph: a DAG of the GPU operations of one decode step or prefill chunk. Four readers interpret it: price
// (model/), simulate (sim/), execute (kernels/), show (reports/).
#pragma once

#include <array>
#include <boost/graph/adjacency_list.hpp>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "model/decode_config.h"
#include "model/op.h"

namespace retrosim {

/// Vertices are numbered in a topological order: every edge goes from a lower to a higher number.
class StepGraph {
 public:
  using Boost = boost::adjacency_list<boost::vecS, boost::vecS, boost::bidirectionalS, Op>;
  using Vertex = Boost::vertex_descriptor;

  std::size_t size() const { return boost::num_vertices(graph_); }
  const Op& op(Vertex vertex) const { return graph_[vertex]; }
  Op& op(Vertex vertex) { return graph_[vertex]; }
  const Boost& boost() const { return graph_; }

  Vertex add(const Op& op);
  /// Throws std::logic_error unless from < to.
  void depend(Vertex from, Vertex to);

 private:
  Boost graph_;
};

/// Adds operations in launch order: each one depends on the one before it on its stream, and on those named. Over a
/// graph that has the same operations already it only rewrites their shapes, which costs no allocation.
class StepGraphBuilder {
 public:
  /// Starts over: the next add() is vertex 0 of `graph`.
  explicit StepGraphBuilder(StepGraph& graph) : graph_(graph), updates_(graph.size() > 0) {}

  StepGraph::Vertex add(const OpShape& shape, const char* name, int layer, Stream stream = Stream::compute);
  /// The same, waiting for `dependency` on another stream as well.
  StepGraph::Vertex add_after(StepGraph::Vertex dependency, const OpShape& shape, const char* name, int layer,
                              Stream stream);
  /// The next operation on `stream` waits for `dependency` as well.
  void await(Stream stream, StepGraph::Vertex dependency);
  /// The latest operation on `stream`; none when there is none yet.
  std::optional<StepGraph::Vertex> last(Stream stream) const;
  /// False when the operations added so far were not the ones that the graph had: the graph must be built anew.
  bool matches() const { return matches_; }
  /// Operations added.
  std::size_t size() const { return next_; }

 private:
  StepGraph& graph_;
  bool updates_;
  bool matches_ = true;
  std::size_t next_ = 0;
  std::array<StepGraph::Vertex, kNumStreams> last_{};
  std::array<bool, kNumStreams> any_{};
  std::array<std::vector<StepGraph::Vertex>, kNumStreams> awaited_;
};

/// What a policy sees of the layer whose selection operations it adds.
struct LayerContext {
  const DecodeConfig& config;
  const LayerDemand& demand;
  int layer = 0;
  std::int64_t context = 0;    // tokens
  std::int64_t num_pages = 0;  // per sequence
  std::int64_t q_heads = 0;    // on this GPU
  std::int64_t kv_heads = 0;   // on this GPU
  std::int64_t position = 0;   // of the query (StepDemand::position)
  // The demand's counts on this GPU, summed over the batch and its KV heads.
  std::int64_t pages_loaded = 0;
  std::int64_t tokens_loaded = 0;
  std::int64_t recalled_pages = 0;
};

/// The operations of one decode step on one GPU of the tensor-parallel group.
/// Throws InputError for a config that validate() refuses.
StepGraph build_decode_step(const DecodeConfig& config, const StepDemand& demand);

/// Rewrites the shapes of a graph made by build_decode_step for another step's demand, keeping vertices and edges;
/// builds it anew where the other step has other operations (a context that outgrows a full budget), and returns false.
bool update_decode_step(StepGraph& graph, const DecodeConfig& config, const StepDemand& demand);

/// The operations of prefilling `new_tokens` prompt tokens of each of `config.batch` sequences after `context_before`
/// tokens.
StepGraph build_prefill(const DecodeConfig& config, std::int64_t new_tokens, std::int64_t context_before);

/// Query heads, or KV heads, on one GPU of a tensor-parallel group; KV heads are replicated when there are fewer than
/// GPUs.
std::int64_t local_q_heads(const DecodeConfig& config);
std::int64_t local_kv_heads(const DecodeConfig& config);

/// Experts that `rows` rows activate together if each picks experts_per_token of num_experts uniformly at random:
/// E (1 - (1 - k/E)^rows), rounded to the nearest whole expert and at least experts_per_token.
std::int64_t expected_distinct_experts(const MoeSpec& moe, std::int64_t rows);

/// KV splits per sequence and KV head of one attention launch: enough that all SMs have work, never less than
/// a few pages each. Used by the step graph and by the kernels alike.
std::int64_t attention_splits(std::int64_t batch, std::int64_t kv_heads, std::int64_t tokens_per_head, int sm_count);

/// Sums over all operations.
Traffic total_traffic(const StepGraph& graph);
double total_flops(const StepGraph& graph);

}  // namespace retrosim
