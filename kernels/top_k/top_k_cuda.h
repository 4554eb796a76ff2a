// The k best pages of every list on the GPU; the semantics are those of kernels/top_k/top_k.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/paged_kv_device.h"

namespace retrosim::kernels::cuda {

struct TopKArgs {
  DevicePageTable table;
  std::int64_t page_size = 16;
  std::int64_t lists_per_sequence = 0;
  std::int64_t k_max = 0;  // columns of `selected`
  // [batch, lists_per_sequence, max_pages]
  const float* scores = nullptr;
  // [batch] pages to select, in [1, k_max]
  const std::int32_t* k = nullptr;
  // [batch, lists_per_sequence, k_max] ascending logical ids; entries beyond the count are not written
  std::int32_t* selected = nullptr;
  // [batch, lists_per_sequence]
  std::int32_t* counts = nullptr;
};

/// Enqueues one kernel: one block per list.
void select_top_k(const TopKArgs& args, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
