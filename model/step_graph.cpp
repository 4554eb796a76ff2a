#include "model/step_graph.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace retrosim {

StepGraph::Vertex StepGraph::add(const Op& op) { return boost::add_vertex(op, graph_); }

void StepGraph::depend(Vertex from, Vertex to) {
  if (from >= to || to >= size()) throw std::logic_error("step graph: an edge must lead to a later operation");
  boost::add_edge(from, to, graph_);
}

StepGraph::Vertex StepGraphBuilder::add(const OpShape& shape, const char* name, int layer, Stream stream) {
  const StepGraph::Vertex vertex = next_++;
  const auto index = static_cast<std::size_t>(stream);
  if (updates_) {
    if (vertex >= graph_.size() || graph_.op(vertex).shape.index() != shape.index() ||
        graph_.op(vertex).layer != layer || graph_.op(vertex).stream != stream) {
      matches_ = false;
    } else if (matches_) {
      graph_.op(vertex).shape = shape;
    }
    last_[index] = vertex;
    any_[index] = true;
    awaited_[index].clear();
    return vertex;
  }
  graph_.add({.shape = shape, .name = name, .layer = layer, .stream = stream});
  if (any_[index]) graph_.depend(last_[index], vertex);
  for (const StepGraph::Vertex awaited : awaited_[index]) {
    if (!any_[index] || awaited != last_[index]) graph_.depend(awaited, vertex);
  }
  awaited_[index].clear();
  last_[index] = vertex;
  any_[index] = true;
  return vertex;
}

void StepGraphBuilder::await(Stream stream, StepGraph::Vertex dependency) {
  awaited_[static_cast<std::size_t>(stream)].push_back(dependency);
}

std::optional<StepGraph::Vertex> StepGraphBuilder::last(Stream stream) const {
  const auto index = static_cast<std::size_t>(stream);
  return any_[index] ? std::optional(last_[index]) : std::nullopt;
}

StepGraph::Vertex StepGraphBuilder::add_after(StepGraph::Vertex dependency, const OpShape& shape, const char* name,
                                              int layer, Stream stream) {
  const bool same_stream = !updates_ && graph_.op(dependency).stream == stream;
  const StepGraph::Vertex vertex = add(shape, name, layer, stream);
  if (!updates_ && !(same_stream && dependency + 1 == vertex)) graph_.depend(dependency, vertex);
  return vertex;
}

std::int64_t local_q_heads(const DecodeConfig& config) { return config.llm.num_q_heads / config.tensor_parallel_size; }

std::int64_t local_kv_heads(const DecodeConfig& config) {
  return std::max(1, config.llm.num_kv_heads / config.tensor_parallel_size);
}

std::int64_t expected_distinct_experts(const MoeSpec& moe, std::int64_t rows) {
  const auto experts = static_cast<double>(moe.num_experts);
  const double untouched = std::pow(1.0 - moe.experts_per_token / experts, static_cast<double>(rows));
  return std::clamp<std::int64_t>(std::llround(experts * (1.0 - untouched)), moe.experts_per_token, moe.num_experts);
}

Traffic total_traffic(const StepGraph& graph) {
  Traffic total;
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) total += graph.op(v).bytes_moved();
  return total;
}

double total_flops(const StepGraph& graph) {
  double total = 0;
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) total += graph.op(v).flops();
  return total;
}

}  // namespace retrosim
