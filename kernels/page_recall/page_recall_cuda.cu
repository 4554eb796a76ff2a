#include <algorithm>
#include <string>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/page_recall/page_recall_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLoadsInFlight = 4;
// A few blocks saturate PCIe; more would only take SMs away from what runs beside the recall.
constexpr int kMaxBlocks = 32;

__global__ void __launch_bounds__(kThreads) recall_kernel(const RecallArgs args) {
  allow_next_kernel();
  wait_for_previous_kernel();
  const std::int64_t per_page = args.bytes_per_page / 16;
  const std::int64_t items = min(static_cast<std::int64_t>(*args.count), args.max_count) * per_page;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  const auto* from = static_cast<const uint4*>(args.host_pages);
  auto* to = static_cast<uint4*>(args.device_pages);
  for (std::int64_t first = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x; first < items;
       first += stride * kLoadsInFlight) {
    uint4 loaded[kLoadsInFlight];
#pragma unroll
    for (int i = 0; i < kLoadsInFlight; ++i) {
      const std::int64_t item = first + i * stride;
      if (item < items) loaded[i] = __ldcs(from + args.from[item / per_page] * per_page + item % per_page);
    }
#pragma unroll
    for (int i = 0; i < kLoadsInFlight; ++i) {
      const std::int64_t item = first + i * stride;
      if (item < items) to[args.to[item / per_page] * per_page + item % per_page] = loaded[i];
    }
  }
}

}  // namespace

void recall_pages(const RecallArgs& args, cudaStream_t stream) {
  if (args.bytes_per_page < 16 || args.bytes_per_page % 16 != 0) {
    throw InputError("", "bytes_per_page", std::to_string(args.bytes_per_page), "a positive multiple of 16");
  }
  const std::int64_t blocks = (args.max_count * args.bytes_per_page / 16 + kThreads - 1) / kThreads;
  if (blocks == 0) return;
  launch(recall_kernel, static_cast<unsigned>(std::min<std::int64_t>(blocks, kMaxBlocks)), kThreads, 0, stream, args);
}

void copy_pages(const void* host_pages, void* device_pages, std::int64_t bytes_per_page,
                std::span<const std::int32_t> from, std::span<const std::int32_t> to, cudaStream_t stream) {
  if (from.empty()) return;
  if (from.size() != to.size()) throw std::logic_error("copy_pages: two lists of different lengths");
  std::vector<const void*> sources;
  std::vector<void*> destinations;
  for (std::size_t i = 0; i < from.size(); ++i) {
    sources.push_back(static_cast<const unsigned char*>(host_pages) + from[i] * bytes_per_page);
    destinations.push_back(static_cast<unsigned char*>(device_pages) + to[i] * bytes_per_page);
  }
  const std::vector<std::size_t> sizes(from.size(), static_cast<std::size_t>(bytes_per_page));
#if CUDART_VERSION >= 13000
  cudaMemcpyAttributes attributes{};
  attributes.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
  std::size_t first = 0;
  RETROSIM_CUDA_CHECK(cudaMemcpyBatchAsync(destinations.data(), sources.data(), sizes.data(), from.size(), &attributes,
                                           &first, 1, stream));
#else
  for (std::size_t i = 0; i < from.size(); ++i) {
    RETROSIM_CUDA_CHECK(cudaMemcpyAsync(destinations[i], sources[i], sizes[i], cudaMemcpyHostToDevice, stream));
  }
#endif
}

}  // namespace retrosim::kernels::cuda
