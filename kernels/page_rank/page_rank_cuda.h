// What a recorder wants to know of dense decode attention: Quest's score of every page, and the attention mass that
// falls on it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/device_buffer.h"
#include "kernels/cuda/paged_kv_device.h"

namespace retrosim::kernels::cuda {

/// Pages with the partial softmax of each query head over them; grows as needed.
struct PageRankScratch {
  DeviceBuffer<float> largest;  // [batch, q heads, max_pages] largest logit
  DeviceBuffer<float> sum;      // [batch, q heads, max_pages] sum of exp(logit - largest)
};

struct PageRankArgs {
  DeviceKvCache cache;  // bf16 or f32
  DevicePageTable table;
  std::int64_t num_q_heads = 0;
  // [batch, num_q_heads, head_dim] in the cache's dtype, after RoPE
  const void* q = nullptr;
  // [batch, num_kv_heads, max_pages]: max over the query group of sum_i max over the page's keys of q_i * k_i, which is
  // sum_i max(q_i * kmin_i, q_i * kmax_i); pages beyond the context are not written
  float* scores = nullptr;
  // [batch, num_kv_heads, max_pages] mean over the query group
  float* mass = nullptr;
};

/// Enqueues two kernels. Keys at positions beyond a sequence's context do not count. Throws InputError for a head size
/// other than 64, 128 or 256, a dtype other than bf16 or f32, or more than 8 query heads per KV head.
void rank_pages(const PageRankArgs& args, PageRankScratch& scratch, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
