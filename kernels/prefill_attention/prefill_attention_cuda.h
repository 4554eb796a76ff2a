// Causal attention of prompt tokens over the paged cache, the baseline; the semantics are those of
// host::prefill_attention in kernels/attention/attention.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/paged_kv_device.h"

namespace retrosim::kernels::cuda {

struct PrefillAttentionArgs {
  DeviceKvCache cache;
  DevicePageTable table;  // the new tokens' keys and values are already stored, and counted in context_lens
  std::int64_t num_q_heads = 0;
  std::int64_t new_tokens = 0;      // the last ones of every sequence
  std::int64_t sliding_window = 0;  // tokens; 0: none
  // [batch, new_tokens, num_q_heads, head_dim] in activation_dtype(cache.dtype), ascending positions
  const void* q = nullptr;
  // as q
  void* out = nullptr;
};

/// Enqueues one kernel: tensor cores with bf16 probabilities for a bf16 or fp8 cache of head size 64, 128 or 256, CUDA
/// cores for a float32 cache of head size up to 256. Throws InputError for anything else.
void prefill_attention(const PrefillAttentionArgs& args, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
