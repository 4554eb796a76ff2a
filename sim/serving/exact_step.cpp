#include "sim/serving/exact_step.h"

#include <stdexcept>
#include <utility>

#include "sim/mean_demand.h"
#include "sim/serving/cudagraph_rows.h"
#include "sim/serving/mixed_step.h"

namespace retrosim {
ExactStep::ExactStep(const ServingConfig& config, std::shared_ptr<const Pricer> pricer)
    : config_(config.decode),
      unseen_(config.unseen),
      cudagraph_padding_(config.cudagraph_padding),
      pricer_(std::move(pricer)) {
  validate(config);
  launch_as_on(pricer_->profile(), config_);
}

const StepGraph& ExactStep::decode_graph(std::int64_t batch, std::int64_t context) {
  config_.batch = batch;
  config_.context = context;
  const StepDemand demand = mean_demand(config_, unseen_);
  if (decode_.size() == 0) {
    decode_ = build_decode_step(config_, demand);
  } else if (!update_decode_step(decode_, config_, demand)) {
    decode_simulator_.reset();
  }
  const std::int64_t rows = batch * config_.window;
  const std::int64_t padding = cudagraph_padding_ ? cudagraph_rows(rows) - rows : 0;
  for (StepGraph::Vertex v = 0; padding > 0 && v < decode_.size(); ++v) {
    decode_.op(v) = with_prefill_rows(decode_.op(v), config_, padding, 0);
  }
  return decode_;
}

TimePs ExactStep::simulate(const StepGraph& graph, std::optional<StepSimulator>& simulator, bool reuse) {
  if (!reuse || !simulator) {
    const GpuProfile& gpu = pricer_->profile();
    simulator.emplace(graph, gpu.graph_launch_s, gpu.graph_node_s);
  }
  prices_.resize(graph.size());
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) prices_[v] = pricer_->price(graph.op(v));
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
