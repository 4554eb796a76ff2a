// Runs given tokens through a real model on the GPU with full attention: the decode step's own kernels, with many
// tokens of one text as the sequences of a batch that share its pages.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <span>

#include "kernels/checkpoint/llm_weights.h"
#include "kernels/cuda_step/step_executor.h"

namespace retrosim::gpu {

class PromptRunner {
 public:
  /// Room for max_tokens tokens, `rows` of them per step. `dtype` is that of weights, activations and caches: bf16 or
  /// f32. The order of the pages in memory comes from `seed`, as a DecodeState's of one sequence does.
  PromptRunner(const LlmWeights& checkpoint, DType dtype, std::int64_t max_tokens, int page_size, int rows,
               std::uint64_t seed, cudaStream_t stream);

  /// Called after "rope_append" of each layer: `count` tokens from position `first` are its rows.
  using LayerObserver = std::function<void(int layer, std::int64_t first, std::int64_t count)>;

  /// Enqueues the tokens after those before. At most `rows` of them.
  void run(std::span<const std::int32_t> tokens, const LayerObserver& observer);

  /// The token that the model chooses after the last one.
  std::int32_t chosen() const;

  /// Copies keys and values into another state of one sequence, of the same page size, seed and size.
  void copy_cache_to(kernels::cuda::DecodeState& state);

  std::int64_t num_tokens() const { return num_tokens_; }
  int rows() const { return rows_; }
  kernels::cuda::DecodeState& state() { return state_; }
  const kernels::cuda::StepExecutor& executor() const { return *executor_; }
  const DecodeConfig& config() const { return config_; }

 private:
  DecodeConfig config_;
  int rows_;
  cudaStream_t stream_;
  StepGraph graph_;
  kernels::cuda::DecodeWeights weights_;
  kernels::cuda::DecodeState state_;
  std::unique_ptr<kernels::cuda::StepExecutor> executor_;
  std::int64_t num_tokens_ = 0;
  std::int64_t last_count_ = 0;  // rows of the last run
};

}  // namespace retrosim::gpu
