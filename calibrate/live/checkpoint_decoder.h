// A real model's decode of one sequence on the GPU, after a prompt that ran there too.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <span>

#include "calibrate/live/live_config.h"
#include "calibrate/live/prompt_runner.h"

namespace retrosim::gpu {

class CheckpointDecoder {
 public:
  /// `weights` and `prompt` must outlive the decoder; the prompt's tokens so far come before the first step.
  /// config.context is the longest context.
  CheckpointDecoder(kernels::cuda::DecodeWeights& weights, DecodeConfig config, PromptRunner& prompt,
                    std::uint64_t seed, cudaStream_t stream);

  /// Back to the end of the prompt, with `token` as the next one.
  void restart(std::int32_t token);
  /// The token that the next step decodes, in the place of the one that the last step chose.
  void give(std::int32_t token);
  /// What the last step chose.
  std::int32_t chosen() const;

  kernels::cuda::StepExecutor& executor() { return *executor_; }
  kernels::cuda::DecodeState& state() { return state_; }
  const DecodeConfig& config() const { return config_; }

 private:
  DecodeConfig config_;
  PromptRunner& prompt_;
  std::int64_t prompt_tokens_;
  cudaStream_t stream_;
  StepGraph graph_;
  kernels::cuda::DecodeState state_;
  std::unique_ptr<kernels::cuda::StepExecutor> executor_;
};

}  // namespace retrosim::gpu
