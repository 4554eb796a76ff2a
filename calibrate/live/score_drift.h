// Page scores that change from step to step like a text's: each is a first-order autoregression of its own.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda_step/decode_state.h"

namespace retrosim::gpu {

/// score' = correlation * score + sqrt(1 - correlation^2) * normal noise. Fills the given_scores of sparse layers.
class ScoreDrift {
 public:
  ScoreDrift(const DecodeConfig& config, kernels::cuda::DecodeState& state, double correlation, std::uint64_t seed,
             cudaStream_t stream);
  /// Enqueues one kernel per sparse layer.
  void advance(cudaStream_t stream);

 private:
  void launch(float correlation, float noise, cudaStream_t stream);

  kernels::cuda::DecodeState& state_;
  double correlation_;
  std::uint64_t seed_;
  std::uint64_t step_ = 0;
};

}  // namespace retrosim::gpu
