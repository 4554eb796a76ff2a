// Recalling pages of keys and values from host memory: two ways over PCIe.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

namespace retrosim::kernels::cuda {

/// One contiguous piece: of one KV head on one page, or of a whole page.
struct RecallArgs {
  // Pinned, mapped host memory: [host pages, bytes_per_page]
  const void* host_pages = nullptr;
  // [device pages, bytes_per_page]
  void* device_pages = nullptr;
  std::int64_t bytes_per_page = 0;  // a multiple of 16
  std::int64_t max_count = 0;
  // [max_count] page of the host's to read, on the device: written by the selection, no host synchronisation
  const std::int32_t* from = nullptr;
  // [max_count] page of the device's to write
  const std::int32_t* to = nullptr;
  // How many of them count, on the device
  const std::int32_t* count = nullptr;
};

/// Enqueues one kernel whose threads read host memory over PCIe with 16-byte loads. Throws InputError for a page size
/// that is no multiple of 16 bytes.
void recall_pages(const RecallArgs& args, cudaStream_t stream);

/// The same through the copy engine, for lists that the host knows: one batched copy.
void copy_pages(const void* host_pages, void* device_pages, std::int64_t bytes_per_page,
                // [n]
                std::span<const std::int32_t> from,
                // [n]
                std::span<const std::int32_t> to, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
