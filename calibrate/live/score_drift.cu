#include <cmath>

#include "calibrate/live/score_drift.h"
#include "kernels/cuda/check.h"

namespace retrosim::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 528;

// splitmix64 (Steele, Lea & Flood).
__device__ __forceinline__ std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

__global__ void __launch_bounds__(kThreads)
    drift_kernel(float* scores, std::int64_t count, float correlation, float noise, std::uint64_t key) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x; i < count; i += stride) {
    const std::uint64_t bits = mixed(key + static_cast<std::uint64_t>(i) * 0xd1342543de82ef95ULL);
    // Box and Muller.
    const float u = (static_cast<float>(static_cast<std::uint32_t>(bits >> 40)) + 0.5F) * 0x1p-24F;
    const float v = static_cast<float>(static_cast<std::uint32_t>(bits & 0xffffffU)) * 0x1p-24F;
    const float normal = sqrtf(-2.0F * logf(u)) * cospif(2.0F * v);
    scores[i] = correlation * scores[i] + noise * normal;
  }
}

}  // namespace

ScoreDrift::ScoreDrift(const DecodeConfig& config, kernels::cuda::DecodeState& state, double correlation,
                       std::uint64_t seed, cudaStream_t stream)
    : state_(state), correlation_(correlation), seed_(seed) {
  const auto count = static_cast<std::size_t>(state.batch * config.llm.num_kv_heads * state.max_pages);
  for (int layer = 0; layer < config.llm.num_layers; ++layer) {
    if (!config.is_sparse(layer)) continue;
    auto& scores = state.layers[static_cast<std::size_t>(layer)].given_scores;
    scores = kernels::cuda::DeviceBuffer<float>(count);
    RETROSIM_CUDA_CHECK(cudaMemsetAsync(scores.data(), 0, scores.bytes(), stream));
  }
  launch(0.0F, 1.0F, stream);
}

void ScoreDrift::advance(cudaStream_t stream) {
  launch(static_cast<float>(correlation_), static_cast<float>(std::sqrt(1 - correlation_ * correlation_)), stream);
}

void ScoreDrift::launch(float correlation, float noise, cudaStream_t stream) {
  ++step_;
  for (std::size_t layer = 0; layer < state_.layers.size(); ++layer) {
    auto& scores = state_.layers[layer].given_scores;
    if (scores.size() == 0) continue;
    drift_kernel<<<kBlocks, kThreads, 0, stream>>>(scores.data(), static_cast<std::int64_t>(scores.size()), correlation,
                                                   noise, seed_ * 0x9e3779b97f4a7c15ULL + step_ * 1000003 + layer);
    RETROSIM_CUDA_CHECK(cudaGetLastError());
  }
}

}  // namespace retrosim::gpu
