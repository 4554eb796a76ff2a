#include <utility>
#include <vector>

#include "calibrate/live/checkpoint_decoder.h"
#include "kernels/cuda/check.h"

namespace retrosim::gpu {

using namespace retrosim::kernels::cuda;

CheckpointDecoder::CheckpointDecoder(DecodeWeights& weights, DecodeConfig config, PromptRunner& prompt,
                                     std::uint64_t seed, cudaStream_t stream)
    : config_(std::move(config)),
      prompt_(prompt),
      prompt_tokens_(prompt.num_tokens()),
      stream_(stream),
      graph_(build_decode_step(config_, graph_demand(config_, config_.context))),
      state_(config_, prompt.state().max_context, seed),
      executor_(std::make_unique<StepExecutor>(config_, graph_, weights, state_)) {}

void CheckpointDecoder::restart(std::int32_t token) {
  prompt_.copy_cache_to(state_);
  for (DecodeLayerState& layer : state_.layers) {
    if (layer.last_loaded.size() > 0) layer.last_loaded.fill_bytes(0xff);
  }
  state_.set_position(prompt_tokens_, 1);
  state_.rebuild_summaries(stream_);
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
  state_.set_sequences(std::vector<std::int32_t>{static_cast<std::int32_t>(prompt_tokens_ + 1)},
                       std::vector<std::int32_t>{token});
}

void CheckpointDecoder::give(std::int32_t token) {
  RETROSIM_CUDA_CHECK(cudaMemcpyAsync(state_.tokens.data(), &token, sizeof token, cudaMemcpyHostToDevice, stream_));
}

std::int32_t CheckpointDecoder::chosen() const {
  std::int32_t token = 0;
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
  RETROSIM_CUDA_CHECK(cudaMemcpy(&token, state_.tokens.data(), sizeof token, cudaMemcpyDeviceToHost));
  return token;
}

}  // namespace retrosim::gpu
