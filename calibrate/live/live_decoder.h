// Runs a live configuration on the GPU: the step graph's operations as CUDA graphs, timed step by step and in parts.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <optional>
#include <vector>

#include "calibrate/live/live_result.h"
#include "calibrate/live/score_drift.h"
#include "kernels/cuda_step/step_executor.h"

namespace retrosim::gpu {

struct LiveOptions {
  int timed_steps = 24;
  bool parts = true;  // also times the step without products and a chain of each operation
};

/// A model's weights on the GPU, kept as long as configurations ask for the same.
class LiveWeights {
 public:
  /// Random weights of this configuration's shape, for its rows.
  kernels::cuda::DecodeWeights& of(const LiveConfig& live, const DecodeConfig& config, cudaStream_t stream);

 private:
  std::string key_;
  std::unique_ptr<kernels::cuda::DecodeWeights> weights_;
};

/// One decode: state, graph and executor, with its selections driven as the configuration says.
class LiveDecoder {
 public:
  /// Room for `steps` steps around config.context. Throws InputError for what does not run on the GPU.
  LiveDecoder(const LiveConfig& live, const DecodeConfig& config, kernels::cuda::DecodeWeights& weights, int steps,
              cudaStream_t stream);

  /// Lets the selections change, and what the host decides about them; between steps.
  void advance();
  /// Enqueues the next step.
  void replay();
  /// Tokens of each sequence at the next step, the one it decodes included.
  std::int64_t context() const { return context_; }
  void set_context(std::int64_t context, int rows);

  kernels::cuda::StepExecutor& executor() { return *executor_; }
  kernels::cuda::DecodeState& state() { return state_; }
  const StepGraph& graph() const { return graph_; }
  const DecodeConfig& config() const { return config_; }
  cudaStream_t stream() const { return stream_; }

 private:
  LiveConfig live_;
  DecodeConfig config_;
  cudaStream_t stream_;
  StepGraph graph_;
  kernels::cuda::DecodeState state_;
  std::unique_ptr<kernels::cuda::StepExecutor> executor_;
  std::optional<ScoreDrift> drift_;
  bool moved_ = false;  // the pages of a policy that recalls them are on the host
  bool has_selected_ = false;
  std::int64_t context_ = 0;
  std::int64_t interval_ = 1;     // steps that one selection serves
  std::int64_t pages_told_ = -1;  // context pages at which a policy without scores was last told its selection
};

/// Warms up, times the steps and counts what they loaded. Throws InputError for what does not run on the GPU.
LiveResult run_live(const LiveConfig& live, LiveWeights& weights, const LiveOptions& options, cudaStream_t stream);

}  // namespace retrosim::gpu
