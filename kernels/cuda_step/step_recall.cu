// The operations of policies that keep the KV cache in host memory (model/policies/arkvale.cpp).
#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda_step/step_executor_impl.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kThreads = 256;

struct MeanScoreArgs {
  DevicePageTable table;
  std::int64_t kv_heads = 0;
  std::int64_t page_size = 0;
  std::int64_t sink_pages = 0;
  std::int64_t recent_pages = 0;
  // [batch, kv heads, max_pages]; every head's score becomes the mean over the heads, or infinity where always kept
  float* scores = nullptr;
};

__global__ void __launch_bounds__(kThreads) mean_scores_kernel(const MeanScoreArgs args) {
  allow_next_kernel();
  wait_for_previous_kernel();
  const std::int64_t b = blockIdx.y;
  const std::int64_t pages = (args.table.context_lens[b] + args.page_size - 1) / args.page_size;
  const std::int64_t page = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x;
  if (page >= pages) return;
  float* column = args.scores + b * args.kv_heads * args.table.max_pages + page;
  float sum = 0;
  for (std::int64_t head = 0; head < args.kv_heads; ++head) sum += column[head * args.table.max_pages];
  const bool kept = page < args.sink_pages || page >= pages - args.recent_pages;
  const float mean = kept ? INFINITY : sum / static_cast<float>(args.kv_heads);
  for (std::int64_t head = 0; head < args.kv_heads; ++head) column[head * args.table.max_pages] = mean;
}

std::int64_t option_of(const Policy& policy, std::string_view name) {
  for (const PolicyOption& option : policy.options()) {
    if (option.name == name) return static_cast<std::int64_t>(option.value);
  }
  return 0;
}

}  // namespace

void StepExecutor::Impl::add(const Op& op, const CachePassShape&, cudaStream_t stream) {
  if (std::string_view(op.name) != "score_mean") refuse_on_gpu("operation", op.name, "a mean of page scores");
  DeviceBuffer<float>& given = layer_state(op).given_scores;
  const dim3 grid(static_cast<unsigned>((state.max_pages + kThreads - 1) / kThreads),
                  static_cast<unsigned>(config.batch));
  launch(mean_scores_kernel, grid, dim3(kThreads), 0, stream,
         MeanScoreArgs{.table = state.page_table(),
                       .kv_heads = config.llm.num_kv_heads,
                       .page_size = config.page_size,
                       .sink_pages = option_of(*config.policy, "sink_pages"),
                       .recent_pages = option_of(*config.policy, "recent_pages"),
                       .scores = given.size() > 0 ? given.data() : scores.data()});
}

void StepExecutor::Impl::add(const Op& op, const DeviceToHostShape&, cudaStream_t stream) {
  const auto layer = static_cast<std::size_t>(op.layer);
  std::unique_ptr<HostPages>& pages = host_pages.at(layer);
  if (pages == nullptr) throw std::logic_error("StepExecutor: a layer without pages on the host");
  if (std::string_view(op.name) == "page_backup") {
    pages->back_up(state.kv_cache(op.layer), state.page_table(), window, stream);
  } else {
    pages->fetch_selection(selected[layer].data(), counts[layer].data(), config.llm.num_kv_heads, stream);
  }
}

void StepExecutor::Impl::add(const Op& op, const HostComputeShape&, cudaStream_t) {
  host_pages.at(static_cast<std::size_t>(op.layer))->decide();
}

void StepExecutor::Impl::add(const Op& op, const HostToDeviceShape& shape, cudaStream_t stream) {
  if (op.layer < 0) {
    RETROSIM_CUDA_CHECK(cudaMemcpyAsync(prefetched.data(), prefetch_source->data(),
                                        static_cast<std::size_t>(shape.bytes), cudaMemcpyHostToDevice, stream));
    return;
  }
  host_pages.at(static_cast<std::size_t>(op.layer))->recall(state.kv_cache(op.layer), stream);
}

void StepExecutor::move_pages_to_host() {
  Impl& impl = *impl_;
  const auto ratio = static_cast<double>(std::max<std::int64_t>(1, option_of(*impl.config.policy, "capacity_ratio")));
  const std::int64_t pages = impl.config.num_pages();
  const std::int64_t selected = impl.config.policy->pages_selected(pages, impl.config.page_size);
  const auto capacity = static_cast<std::int64_t>(ratio * static_cast<double>(selected));
  const std::vector<std::int32_t> physical = impl.state.physical.download();
  // The page that the next step writes to is not the host's yet.
  const std::int64_t full_pages = (impl.state.context_lens.download().at(0) - 1) / impl.config.page_size;
  for (StepGraph::Vertex v = 0; v < impl.graph.size(); ++v) {
    const Op& op = impl.graph.op(v);
    if (op.kind() != OpKind::device_to_host) continue;
    std::unique_ptr<HostPages>& layer = impl.host_pages.at(static_cast<std::size_t>(op.layer));
    if (layer != nullptr) continue;
    layer = std::make_unique<HostPages>(impl.state.kv_cache(op.layer), physical, impl.state.batch, impl.state.max_pages,
                                        impl.state.k_max, full_pages, capacity);
  }
}

}  // namespace retrosim::kernels::cuda
