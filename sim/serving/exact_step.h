// The latency of one engine step, from its step graph: built, priced and simulated.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "model/pricing.h"
#include "model/step_graph.h"
#include "sim/serving/serving_config.h"
#include "sim/serving/step_shape.h"
#include "sim/step_simulator.h"

namespace retrosim {

/// Decoding sequences all have the mean context (rounded to a token), prompt chunks are equal (EqualChunks); the pages
/// of a sparse layer are the policy's, the unseen ones ServingConfig::unseen of them. With
/// ServingConfig::cudagraph_padding rows up to the captured size are computed like those of a prompt, but for attention
/// and the head.
class ExactStep {
 public:
  ExactStep(const ServingConfig& config, std::shared_ptr<const Pricer> pricer);

  /// Without the host's overhead. Requires a step that does something.
  TimePs latency(const StepShape& shape);

  /// Decode graph of `batch` sequences of `context` tokens; valid until the next call of any member.
  const StepGraph& decode_graph(std::int64_t batch, std::int64_t context);
  const Pricer& pricer() const { return *pricer_; }
  const DecodeConfig& config() const { return config_; }

 private:
  TimePs simulate(const StepGraph& graph, std::optional<StepSimulator>& simulator, bool reuse);

  DecodeConfig config_;
  UnseenShare unseen_;
  bool cudagraph_padding_;
  std::shared_ptr<const Pricer> pricer_;
  StepGraph decode_;
  std::optional<StepSimulator> decode_simulator_;
  std::vector<Price> prices_;
};

}  // namespace retrosim
