// The step graph: a DAG of the GPU operations of one decode step or prefill chunk. Four readers interpret it: price
// (model/), simulate (sim/), execute (kernels/), show (reports/).
#pragma once

#include <boost/graph/adjacency_list.hpp>
#include <cstdint>
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

/// Adds operations in launch order: each one depends on the one before it on its stream, and on those named.
class StepGraphBuilder {
 public:
  StepGraph::Vertex add(OpShape shape, const char* name, int layer, Stream stream = Stream::compute);
  StepGraph::Vertex add_after(StepGraph::Vertex dependency, OpShape shape, const char* name, int layer, Stream stream);
  StepGraph take() { return std::move(graph_); }

 private:
  StepGraph graph_;
  std::array<StepGraph::Vertex, kNumStreams> last_{};
  std::array<bool, kNumStreams> any_{};
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
};

/// The operations of one decode step on one GPU of the tensor-parallel group.
/// Throws InputError for a config that validate() refuses.
StepGraph build_decode_step(const DecodeConfig& config, const StepDemand& demand);

/// Rewrites the shapes of a graph made by build_decode_step with the same config for another step's demand, keeping its
/// vertices and edges.
void update_decode_step(StepGraph& graph, const DecodeConfig& config, const StepDemand& demand);

/// The operations of prefilling `new_tokens` prompt tokens of each of `config.batch` sequences after `context_before` tokens.
StepGraph build_prefill(const DecodeConfig& config, std::int64_t new_tokens, std::int64_t context_before);

/// KV splits per sequence and KV head of one attention launch: enough that all SMs have work, never less than
/// a few pages each. Used by the step graph and by the kernels alike.
std::int64_t attention_splits(std::int64_t batch, std::int64_t kv_heads, std::int64_t tokens_per_head, int sm_count);

/// Sums over all operations.
Traffic total_traffic(const StepGraph& graph);
double total_flops(const StepGraph& graph);

}  // namespace retrosim
