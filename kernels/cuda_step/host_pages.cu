#include <algorithm>
#include <cstring>

#include "kernels/cuda/launch.h"
#include "kernels/cuda_step/host_pages.h"
#include "kernels/page_recall/page_recall_cuda.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kThreads = 128;

/// Block (b, s): K and V of token t - s of sequence b, all KV heads, to the same place in `to`.
__global__ void __launch_bounds__(kThreads)
    back_up_kernel(const unsigned char* from, unsigned char* to, const DevicePageTable table, KvShape shape,
                   int element_bytes) {
  const std::int64_t b = blockIdx.x;
  const std::int64_t position = table.context_lens[b] - 1 - static_cast<std::int64_t>(blockIdx.y);
  if (position < 0) return;
  const std::int64_t page = table.physical[b * table.max_pages + position / shape.page_size];
  const std::int64_t slot = position % shape.page_size;
  const std::int64_t pieces = shape.head_dim * element_bytes / 16;  // of 16 bytes, per vector
  for (std::int64_t i = threadIdx.x; i < 2 * shape.num_kv_heads * pieces; i += kThreads) {
    const std::int64_t vector = i / pieces;
    const std::int64_t head = vector / 2;
    const std::int64_t offset =
        vector % 2 == 0 ? shape.key_offset(page, head, slot) : shape.value_offset(page, head, slot);
    const std::int64_t at = offset * element_bytes / 16 + i % pieces;
    reinterpret_cast<uint4*>(to)[at] = reinterpret_cast<const uint4*>(from)[at];
  }
}

}  // namespace

PinnedBytes::PinnedBytes(std::int64_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  RETROSIM_CUDA_CHECK(
      cudaHostAlloc(reinterpret_cast<void**>(&data_), static_cast<std::size_t>(bytes), cudaHostAllocMapped));
  std::memset(data_, 0, static_cast<std::size_t>(bytes));
}

PinnedBytes::~PinnedBytes() { cudaFreeHost(data_); }

HostPages::HostPages(const DeviceKvCache& cache, std::vector<std::int32_t> physical, std::int64_t batch,
                     std::int64_t max_pages, std::int64_t k_max, std::int64_t known_pages, std::int64_t capacity)
    : physical_(std::move(physical)),
      batch_(batch),
      max_pages_(max_pages),
      k_max_(k_max),
      capacity_(capacity),
      bytes_per_page_(bytes_of(cache.dtype, cache.shape.kv_size() / cache.shape.num_pages)),
      pages_(bytes_per_page_ * cache.shape.num_pages),
      selection_((batch * k_max + batch) * 4),
      last_selected_(static_cast<std::size_t>(batch * max_pages), -1) {
  RETROSIM_CUDA_CHECK(
      cudaMemcpy(pages_.data(), cache.data, static_cast<std::size_t>(pages_.size()), cudaMemcpyDeviceToHost));
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t page = known_pages; page < max_pages; ++page) {
      last_selected_[static_cast<std::size_t>(b * max_pages + page)] = 0;
    }
  }
}

void HostPages::fetch_selection(const std::int32_t* selected, const std::int32_t* counts, std::int64_t kv_heads,
                                cudaStream_t stream) {
  const auto row = static_cast<std::size_t>(k_max_) * 4;
  const auto sequences = static_cast<std::size_t>(batch_);
  const auto heads = static_cast<std::size_t>(kv_heads);
  RETROSIM_CUDA_CHECK(
      cudaMemcpy2DAsync(selection_.data(), row, selected, row * heads, row, sequences, cudaMemcpyDeviceToHost, stream));
  RETROSIM_CUDA_CHECK(cudaMemcpy2DAsync(selection_.data() + row * sequences, 4, counts, 4 * heads, 4, sequences,
                                        cudaMemcpyDeviceToHost, stream));
}

void HostPages::decide() {
  const auto* ids = reinterpret_cast<const std::int32_t*>(selection_.data());
  const std::int32_t* counts = ids + batch_ * k_max_;
  recalled_.clear();
  ++step_;
  std::vector<std::int64_t> others;  // resident, not selected now
  for (std::int64_t b = 0; b < batch_; ++b) {
    std::int64_t* last = &last_selected_[static_cast<std::size_t>(b * max_pages_)];
    for (std::int64_t i = 0; i < counts[b]; ++i) {
      const std::int32_t page = ids[b * k_max_ + i];
      if (last[page] < 0) recalled_.push_back(physical_[static_cast<std::size_t>(b * max_pages_ + page)]);
      last[page] = step_;
    }
    const std::int64_t open = counts[b] > 0 ? ids[b * k_max_ + counts[b] - 1] : max_pages_ - 1;  // lists ascend to it
    others.clear();
    for (std::int64_t page = 0; page <= open; ++page) {
      if (last[page] >= 0 && last[page] < step_) others.push_back(page);
    }
    const std::int64_t leaving = static_cast<std::int64_t>(others.size()) + counts[b] - capacity_;
    if (leaving <= 0) continue;
    const auto count = std::min<std::int64_t>(leaving, static_cast<std::int64_t>(others.size()));
    std::nth_element(others.begin(), others.begin() + (count - 1), others.end(),
                     [last](std::int64_t x, std::int64_t y) { return last[x] != last[y] ? last[x] < last[y] : x < y; });
    for (std::int64_t i = 0; i < count; ++i) last[others[static_cast<std::size_t>(i)]] = -1;
  }
}

void HostPages::recall(const DeviceKvCache& cache, cudaStream_t stream) const {
  // The host's copy is const to the copy engine.
  copy_pages(const_cast<PinnedBytes&>(pages_).data(), cache.data, bytes_per_page_, recalled_, recalled_, stream);
}

void HostPages::back_up(const DeviceKvCache& cache, const DevicePageTable& table, int rows, cudaStream_t stream) {
  back_up_kernel<<<dim3(static_cast<unsigned>(batch_), static_cast<unsigned>(rows)), kThreads, 0, stream>>>(
      static_cast<const unsigned char*>(cache.data), pages_.data(), table, cache.shape, bits_of(cache.dtype) / 8);
  RETROSIM_CUDA_CHECK(cudaGetLastError());
}

}  // namespace retrosim::kernels::cuda
