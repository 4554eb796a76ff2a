#include <algorithm>
#include <numeric>

#include "calibrate/live/live_decoder.h"
#include "kernels/cuda/check.h"
#include "kernels/matmul/skinny_matmul_cuda.h"
#include "model/error.h"

namespace retrosim::gpu {

using namespace retrosim::kernels::cuda;

DecodeWeights& LiveWeights::of(const LiveConfig& live, const DecodeConfig& config, cudaStream_t stream) {
  const std::int64_t rows = config.batch * config.window;
  const std::string key = live.llm + "/" + std::to_string(config.llm.num_layers) + "/" +
                          std::string(name_of(config.llm.weight_dtype)) + (rows <= kSkinnyMaxRows ? "/skinny" : "/lt") +
                          (config.batch <= kSkinnyMaxRows ? "/skinny" : "/lt");
  if (key == key_) return *weights_;
  key_.clear();
  weights_.reset();  // before the next ones take their memory
  const DType dtype = activation_dtype(config.kv_dtype);
  weights_ = std::make_unique<DecodeWeights>(config.llm, dtype, rows, config.batch);
  weights_->fill_random(live.seed, stream);
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
  key_ = key;
  return *weights_;
}

LiveDecoder::LiveDecoder(const LiveConfig& live, const DecodeConfig& config, DecodeWeights& weights, int steps,
                         cudaStream_t stream)
    : live_(live),
      config_(config),
      stream_(stream),
      graph_(live_graph(config, graph_demand(config, config.context), live.prefetch_bytes)),
      state_(config, config.context + steps, live.seed),
      executor_(std::make_unique<StepExecutor>(config, graph_, weights, state_)) {
  state_.fill_random(live.seed, stream);
  if (live.selection == LiveSelection::drift) drift_.emplace(config, state_, live.correlation, live.seed, stream);
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
  if (config.policy->name() == "reuse") {
    for (const PolicyOption& option : config.policy->options()) {
      if (option.name == "interval") interval_ = static_cast<std::int64_t>(option.value);
    }
    // A page that opens between two selections would have to join the list.
    if (config.page_size % interval_ != 0) {
      throw InputError("", "interval", std::to_string(interval_), "a divisor of the page size on the GPU");
    }
  }
  context_ = config.context;
}

void LiveDecoder::set_context(std::int64_t context, int rows) {
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
  state_.set_position(context, rows);
  context_ = context;
  if (!moved_) executor_->move_pages_to_host();
  moved_ = true;
}

void LiveDecoder::advance() {
  if (drift_) drift_->advance(stream_);
  const std::int64_t pages = (context_ + config_.page_size - 1) / config_.page_size;
  if (config_.policy->selects_by_score() || config_.policy->name() == "full" || pages == pages_told_) return;
  pages_told_ = pages;
  std::vector<PageId> ranked(static_cast<std::size_t>(pages));
  std::iota(ranked.begin(), ranked.end(), 0U);
  std::vector<PageId> chosen;
  config_.policy->select({.pages = ranked, .num_pages = pages}, config_.page_size, chosen);
  std::vector<std::int32_t> list(chosen.begin(), chosen.end());
  std::sort(list.begin(), list.end());
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
  for (int layer = 0; layer < config_.llm.num_layers; ++layer) {
    if (config_.is_sparse(layer)) executor_->select(layer, list);
  }
}

void LiveDecoder::replay() {
  const bool keeps = has_selected_ && (context_ - 1) % interval_ != 0;
  has_selected_ = true;
  executor_->replay(stream_, keeps ? StepKind::keeps_selection : StepKind::selects);
  ++context_;
}

}  // namespace retrosim::gpu
