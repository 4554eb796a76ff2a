// Decode steps of one configuration on one GPU, one after another. The step graph, its prices and the schedule are kept
// from step to step and rewritten in place.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "model/decode_config.h"
#include "model/gpu_profile.h"
#include "model/pricing.h"
#include "model/step_graph.h"
#include "sim/step_simulator.h"
#include "sim/timeline.h"

namespace retrosim {

/// One step on one GPU of the tensor-parallel group.
struct SimulatedStep {
  TimePs latency = 0;
  Traffic traffic;
  double flops = 0;
};

class DecodeSimulation {
 public:
  /// Throws InputError for an impossible configuration or a profile that lacks an operation.
  DecodeSimulation(const DecodeConfig& config, const GpuProfile& gpu);
  /// The same with a pricer that others share.
  DecodeSimulation(const DecodeConfig& config, std::shared_ptr<const Pricer> pricer);

  /// From now on steps of another configuration, perhaps on another GPU. Quick where its step has the same operations.
  void reconfigure(const DecodeConfig& config, std::shared_ptr<const Pricer> pricer);

  /// Simulates one step; a step that asks the same as the one before is not simulated twice.
  /// Throws InputError when the demand does not have one entry per layer, is negative or has no context.
  const SimulatedStep& step(const StepDemand& demand);

  /// The operations of the last step. Throws std::logic_error before the first.
  Timeline timeline() const;

 private:
  void check(const StepDemand& demand) const;

  DecodeConfig config_;
  std::shared_ptr<const Pricer> pricer_;
  StepDemand demand_;
  StepGraph graph_;
  std::vector<Price> prices_;  // [graph_.size()]
  std::optional<StepSimulator> simulator_;
  const StepSchedule* schedule_ = nullptr;  // of simulator_
  SimulatedStep last_;
};

}  // namespace retrosim
