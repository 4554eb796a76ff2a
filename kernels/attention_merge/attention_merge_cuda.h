// Merging the KV splits of one attention launch, and the output cache of the retrospective window, in one kernel; the
// semantics are those of kernels/attention_merge/attention_merge.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/attention/attention_cuda.h"

namespace retrosim::kernels::cuda {

struct AttentionMergeArgs {
  DType dtype = DType::bf16;  // of `out` and the cached values: bf16 or f32
  DevicePageTable table;      // a row's position is context_len - 1 - s
  std::int64_t num_q_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t window = 1;
  std::int64_t num_splits = 1;
  AttentionPartials partials;
  // [batch] rows that exist, in [1, window]
  const std::int32_t* num_rows = nullptr;

  std::int64_t slots = 0;  // of the output cache's ring; 0: no output cache
  // [slots, batch, num_q_heads, head_dim]; the query at position p is in slot p mod slots
  void* cache_values = nullptr;
  // [slots, batch, num_q_heads]
  float* cache_lse = nullptr;

  // [batch, window, num_q_heads, head_dim]; rows that do not exist become 0
  void* out = nullptr;
  // [batch, window, num_q_heads] or null; rows that do not exist become -infinity
  float* lse = nullptr;

  // Stamps last_loaded of every selected page with the current position; null: nothing to stamp.
  std::int32_t* last_loaded = nullptr;
  std::int64_t page_size = 0;
  std::int64_t num_lists = 0;
  std::int64_t k_max = 0;
  const std::int32_t* selected = nullptr;
  const std::int32_t* counts = nullptr;
};

/// Enqueues one kernel.
void merge_attention(const AttentionMergeArgs& args, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
