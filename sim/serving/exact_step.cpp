#include "sim/serving/exact_step.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "sim/serving/mixed_step.h"

namespace retrosim {
namespace {

StepDemand demand_of(const DecodeConfig& config, const UnseenShare& unseen) {
  StepDemand demand = demand_without_unseen(config);
  const std::int64_t pages = config.num_pages();
  const bool all = config.policy->pages_selected(pages, config.page_size) >= pages;
  if (config.window == 1 || all || demand.layers.empty()) return demand;
  LayerDemand layer = demand.layers.front();
  const auto loaded = static_cast<double>(layer.pages_loaded);
  layer.unseen_visits = std::llround(loaded * unseen.visits);
  layer.unseen_union = std::min({std::llround(loaded * unseen.in_union), static_cast<long long>(layer.unseen_visits),
                                 static_cast<long long>(layer.pages_loaded)});
  std::fill(demand.layers.begin(), demand.layers.end(), layer);
  return demand;
}

}  // namespace

ExactStep::ExactStep(const ServingConfig& config, const GpuProfile& gpu)
    : config_(config.decode), unseen_(config.unseen), pricer_(gpu) {
  validate(config);
  config_.sm_count = gpu.spec.sm_count;
}

const StepGraph& ExactStep::decode_graph(std::int64_t batch, std::int64_t context) {
  config_.batch = batch;
  config_.context = context;
  const StepDemand demand = demand_of(config_, unseen_);
  const std::size_t before = decode_.size();
  if (before == 0) {
    decode_ = build_decode_step(config_, demand);
  } else {
    update_decode_step(decode_, config_, demand);
  }
  if (decode_.size() != before) decode_simulator_.reset();
  return decode_;
}

TimePs ExactStep::simulate(const StepGraph& graph, std::optional<StepSimulator>& simulator, bool reuse) {
  if (!reuse || !simulator) {
    const GpuProfile& gpu = pricer_.profile();
    simulator.emplace(graph, gpu.graph_launch_s, gpu.graph_node_s);
  }
  prices_.resize(graph.size());
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) prices_[v] = pricer_.price(graph.op(v));
  return simulator->run(prices_).latency;
}

TimePs ExactStep::latency(const StepShape& shape) {
  if (shape.decodes == 0) {
    if (shape.prefill_chunks == 0) throw std::logic_error("exact step: an empty step");
    const EqualChunks chunks(shape);
    config_.batch = chunks.count;
    config_.context = chunks.context_before + chunks.new_tokens;
    std::optional<StepSimulator> once;
    return simulate(build_prefill(config_, chunks.new_tokens, chunks.context_before), once, false);
  }
  const std::int64_t context = (2 * shape.context_sum + shape.decodes) / (2 * shape.decodes);
  const StepGraph& decode = decode_graph(shape.decodes, context);
  if (shape.prefill_chunks == 0) return simulate(decode, decode_simulator_, true);
  std::optional<StepSimulator> once;
  return simulate(join_prefill(decode, config_, shape), once, false);
}

}  // namespace retrosim
