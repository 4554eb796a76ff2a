// One layer's KV cache in host memory, and which of its pages are resident on the GPU: what a policy that recalls pages
// keeps on the host's side.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/cuda/paged_kv_device.h"

namespace retrosim::kernels::cuda {

/// Pinned host memory that the GPU can reach; zero at first.
class PinnedBytes {
 public:
  explicit PinnedBytes(std::int64_t bytes);
  ~PinnedBytes();
  PinnedBytes(const PinnedBytes&) = delete;
  PinnedBytes& operator=(const PinnedBytes&) = delete;
  unsigned char* data() { return data_; }
  std::int64_t size() const { return size_; }

 private:
  unsigned char* data_ = nullptr;
  std::int64_t size_ = 0;
};

/// Pages keep their place in GPU memory while they are not resident, so the GPU's memory is not relieved; what moves
/// over PCIe, and when, is what a policy with `capacity` places would move. Resident pages leave least recently
/// selected first (ArkVale: lowest ranked first, which the host does not see).
class HostPages {
 public:
  /// Copies the whole cache to the host. The first `known_pages` pages of each sequence are subject to residency; what
  /// is appended later is resident.
  HostPages(const DeviceKvCache& cache, std::vector<std::int32_t> physical, std::int64_t batch, std::int64_t max_pages,
            std::int64_t k_max, std::int64_t known_pages, std::int64_t capacity);

  /// Enqueues the copy of the selection of each sequence's first KV head to the host.
  void fetch_selection(const std::int32_t* selected, const std::int32_t* counts, std::int64_t kv_heads,
                       cudaStream_t stream);
  /// With the selection there: finds the pages that are not resident and makes them so.
  void decide();
  /// Enqueues one copy per page that decide() found, through the copy engine.
  void recall(const DeviceKvCache& cache, cudaStream_t stream) const;
  /// Enqueues one kernel that writes K and V of the last `rows` tokens of each sequence to the host's copy.
  void back_up(const DeviceKvCache& cache, const DevicePageTable& table, int rows, cudaStream_t stream);

  /// Pages of the latest decide().
  std::int64_t recalled() const { return static_cast<std::int64_t>(recalled_.size()); }

 private:
  std::vector<std::int32_t> physical_;  // [batch, max_pages]
  std::int64_t batch_;
  std::int64_t max_pages_;
  std::int64_t k_max_;
  std::int64_t capacity_;
  std::int64_t bytes_per_page_;
  PinnedBytes pages_;                        // [physical pages, kv heads, 2, page_size, head_dim]
  PinnedBytes selection_;                    // [batch, k_max] ids, then [batch] counts
  std::vector<std::int64_t> last_selected_;  // [batch, max_pages] step; -1: not resident
  std::int64_t step_ = 0;
  std::vector<std::int32_t> recalled_;  // physical pages
};

}  // namespace retrosim::kernels::cuda
