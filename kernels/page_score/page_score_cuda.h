// Quest's page scores on the GPU; the semantics are those of kernels/page_score/page_score.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/paged_kv_device.h"
#include "kernels/page_score/page_score.h"

namespace retrosim::kernels::cuda {

struct PageScoreArgs {
  KvShape shape;
  DType dtype = DType::bf16;  // of q and the summaries: bf16 or f32
  DevicePageTable table;
  std::int64_t num_q_heads = 0;
  GroupReduction reduction = GroupReduction::max;
  // [batch, q_stride] whose first num_q_heads * head_dim elements are the current query, after RoPE
  const void* q = nullptr;
  std::int64_t q_stride = 0;  // elements
  // [num_pages, num_kv_heads, 2 (min, max), head_dim]
  const void* summaries = nullptr;
  // [batch, selection_heads, max_pages]
  float* scores = nullptr;
};

/// Enqueues one kernel. Throws InputError for a head size other than 64, 128 or 256, or more than 16 query heads per KV
/// head.
void page_scores(const PageScoreArgs& args, cudaStream_t stream);

/// Reads the same summaries through 16-byte loads and without arithmetic: the bandwidth that scoring can reach at most.
void gather_summaries(const PageScoreArgs& args, std::uint32_t* sink, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
