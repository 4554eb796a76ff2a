#include <string>

#include "calibrate/live/prompt_runner.h"
#include "kernels/cuda/check.h"
#include "model/error.h"

namespace retrosim::gpu {

using namespace retrosim::kernels::cuda;

namespace {

DecodeConfig prompt_config(const LlmWeights& checkpoint, DType dtype, std::int64_t max_tokens, int page_size,
                           int rows) {
  DecodeConfig config;
  config.llm = checkpoint.llm;
  config.llm.weight_dtype = dtype;
  config.policy = make_policy("full", {});
  config.batch = rows;
  config.context = max_tokens;
  config.page_size = page_size;
  config.kv_dtype = dtype;
  config.sm_count = device_attribute(cudaDevAttrMultiProcessorCount);
  config.merges_in_attention = true;
  config.few_row_products = true;
  return config;
}

}  // namespace

PromptRunner::PromptRunner(const LlmWeights& checkpoint, DType dtype, std::int64_t max_tokens, int page_size, int rows,
                           std::uint64_t seed, cudaStream_t stream)
    : config_(prompt_config(checkpoint, dtype, max_tokens, page_size, rows)),
      rows_(rows),
      stream_(stream),
      graph_(build_decode_step(config_, demand_without_unseen(config_))),
      weights_(config_.llm, dtype, rows, rows),
      state_(config_, max_tokens + 1, seed, PageOwner::batch) {
  weights_.upload(checkpoint);
  executor_ = std::make_unique<StepExecutor>(config_, graph_, weights_, state_);
}

void PromptRunner::run(std::span<const std::int32_t> tokens, const LayerObserver& observer) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (count < 1 || count > rows_ || num_tokens_ + count > state_.max_context - 1) {
    throw InputError("", "tokens", std::to_string(num_tokens_ + count),
                     "at most " + std::to_string(state_.max_context - 1) + ", " + std::to_string(rows_) + " at a time");
  }
  // The rows that are left over repeat the last token: they write what it writes.
  std::vector<std::int32_t> lens;
  std::vector<std::int32_t> ids;
  for (std::int64_t row = 0; row < rows_; ++row) {
    const std::int64_t at = std::min(row, count - 1);
    lens.push_back(static_cast<std::int32_t>(num_tokens_ + at + 1));
    ids.push_back(tokens[static_cast<std::size_t>(at)]);
  }
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
  state_.set_sequences(lens, ids);
  const std::int64_t first = num_tokens_;
  executor_->enqueue_each(stream_, [&](const Op& op) {
    if (op.kind() == OpKind::rope_append) observer(op.layer, first, count);
  });
  num_tokens_ += count;
  last_count_ = count;
}

void PromptRunner::copy_cache_to(DecodeState& state) {
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
  for (std::size_t layer = 0; layer < state.layers.size(); ++layer) {
    auto& to = state.layers[layer].kv;
    auto& from = state_.layers[layer].kv;
    if (to.size() != from.size()) throw std::logic_error("PromptRunner: a cache of another size");
    RETROSIM_CUDA_CHECK(cudaMemcpy(to.data(), from.data(), from.size(), cudaMemcpyDeviceToDevice));
  }
}

std::int32_t PromptRunner::chosen() const {
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
  return state_.tokens.download().at(static_cast<std::size_t>(last_count_ - 1));
}

}  // namespace retrosim::gpu
