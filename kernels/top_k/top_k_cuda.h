// The k best pages of every list on the GPU; the semantics are those of kernels/top_k/top_k.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/paged_kv_device.h"

namespace retrosim::kernels::cuda {

/// Selections decided in advance (kernels/top_k/selection_schedule.h), of one layer.
struct DeviceSchedule {
  // [num_steps, batch, lists_per_sequence, k_max]; null: none
  const std::int32_t* pages = nullptr;
  // [num_steps, batch, lists_per_sequence]
  const std::int32_t* counts = nullptr;
  std::int64_t k_max = 0;
  std::int64_t first_context = 0;
  std::int64_t num_steps = 0;
};

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
  // The pages to hand on instead of the best ones, which are found all the same, so that the kernel takes as long. A
  // context outside the schedule traps: the kernel fails.
  DeviceSchedule schedule;
};

/// Enqueues one kernel: one block per list.
void select_top_k(const TopKArgs& args, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
