#include "sim/decode_simulation.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "model/error.h"

namespace retrosim {

DecodeSimulation::DecodeSimulation(const DecodeConfig& config, const GpuProfile& gpu)
    : DecodeSimulation(config, std::make_shared<const Pricer>(gpu)) {}

DecodeSimulation::DecodeSimulation(const DecodeConfig& config, std::shared_ptr<const Pricer> pricer)
    : config_(config), pricer_(std::move(pricer)) {
  validate(config);
}

void DecodeSimulation::reconfigure(const DecodeConfig& config, std::shared_ptr<const Pricer> pricer) {
  validate(config);
  // The gaps between operations are the GPU's, and how they are issued is the implementation's.
  if (pricer != pricer_ || config.implementation.host_issue_s != config_.implementation.host_issue_s) {
    simulator_.reset();
  }
  config_ = config;
  pricer_ = std::move(pricer);
  schedule_ = nullptr;
}

void DecodeSimulation::check(const StepDemand& demand) const {
  const auto layers = static_cast<std::size_t>(config_.llm.num_layers);
  if (demand.layers.size() != layers) {
    throw InputError("demand", "layers", std::to_string(demand.layers.size()), std::to_string(layers) + " layers");
  }
  if (demand.context < 1) throw InputError("demand", "context", std::to_string(demand.context), "at least 1 token");
  for (const LayerDemand& layer : demand.layers) {
    const bool counts = layer.pages_loaded >= 0 && layer.tokens_loaded >= 0 && layer.unseen_visits >= 0 &&
                        layer.unseen_union >= 0 && layer.unseen_union <= layer.unseen_visits &&
                        layer.unseen_union <= layer.pages_loaded && layer.recalled_pages >= 0 &&
                        layer.recalled_pages <= layer.pages_loaded;
    if (!counts) {
      throw InputError("demand", "layers",
                       std::to_string(layer.unseen_union) + " unseen of " + std::to_string(layer.pages_loaded) +
                           " loaded pages, visited " + std::to_string(layer.unseen_visits) + " times, " +
                           std::to_string(layer.recalled_pages) + " recalled",
                       "0 <= unseen <= loaded, every unseen page visited, and 0 <= recalled <= loaded");
    }
  }
}

const SimulatedStep& DecodeSimulation::step(const StepDemand& demand) {
  if (schedule_ != nullptr && demand.context == demand_.context && demand.position == demand_.position &&
      demand.layers == demand_.layers)
    return last_;
  check(demand);
  demand_ = demand;
  if (graph_.size() == 0) {
    graph_ = build_decode_step(config_, demand);
  } else if (!update_decode_step(graph_, config_, demand)) {
    simulator_.reset();
  }
  if (!simulator_) {
    const GpuProfile& gpu = pricer_->profile();
    simulator_.emplace(graph_, gpu.graph_launch_s, gpu.graph_node_s, false, config_.implementation.host_issue_s);
    prices_.resize(graph_.size());
  }
  last_ = {};
  for (StepGraph::Vertex v = 0; v < graph_.size(); ++v) {
    const Op& op = graph_.op(v);
    prices_[v] = pricer_->price(op);
    last_.traffic += op.bytes_moved();
    last_.flops += op.flops();
  }
  schedule_ = &simulator_->run(prices_);
  last_.latency = schedule_->latency;
  return last_;
}

Timeline DecodeSimulation::timeline() const {
  if (schedule_ == nullptr) throw std::logic_error("decode simulation: no step was simulated yet");
  Timeline timeline{.latency_us = us_from_ps(schedule_->latency), .ops = {}};
  timeline.ops.reserve(graph_.size());
  for (StepGraph::Vertex v = 0; v < graph_.size(); ++v) {
    const Op& op = graph_.op(v);
    const OpTiming& when = schedule_->ops[v];
    timeline.ops.push_back({.name = op.name,
                            .kind = op.kind(),
                            .layer = op.layer,
                            .stream = op.stream,
                            .start_us = us_from_ps(when.start),
                            .latency_us = us_from_ps(when.end - when.start),
                            .bound = prices_[v].bound,
                            .provenance = prices_[v].provenance,
                            .traffic = op.bytes_moved(),
                            .flops = op.flops()});
  }
  return timeline;
}

}  // namespace retrosim
