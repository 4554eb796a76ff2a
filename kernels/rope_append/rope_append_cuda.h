// RoPE (with RMSNorm on the heads where the model has it), KV append and overwrite, and the refresh of the touched
// pages' summaries, in one kernel (method.md, step 1).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/paged_kv_device.h"
#include "kernels/cuda_step/product_view.h"
#include "kernels/page_summary/page_summary.h"

namespace retrosim::kernels::cuda {

struct RopeAppendArgs {
  DeviceKvCache cache;
  DevicePageTable table;
  std::int64_t num_q_heads = 0;
  int window = 1;  // rows per sequence
  // [batch] rows that exist, in [1, window]
  const std::int32_t* num_rows = nullptr;
  // [batch * window, (num_q_heads + 2 * num_kv_heads) * head_dim]: Q, K, V; row s of a sequence is its token t - s
  ProductView qkv;
  // [head_dim / 2] radians per token of each pair (i, i + head_dim / 2), as rope_frequencies() gives them
  const double* inverse_frequencies = nullptr;
  // [head_dim] each in activation_dtype(cache.dtype), or both null
  const void* q_gain = nullptr;
  const void* k_gain = nullptr;
  float eps = 1e-6F;
  bool overwrites = false;  // K and V of the existing older rows; else only the current token's are stored
  host::SummaryRefresh refresh = host::SummaryRefresh::none;
  // [num_pages, num_kv_heads, 2 (min, max), head_dim] in activation_dtype(cache.dtype); null with SummaryRefresh::none
  void* summaries = nullptr;
  // [batch * window, num_q_heads, head_dim] in activation_dtype(cache.dtype)
  void* q = nullptr;

  // Weights of a later product to ask into L2, while page selection leaves memory idle: 16-byte aligned.
  const void* prefetch = nullptr;
  std::int64_t prefetch_bytes = 0;
};

/// Enqueues one kernel. Throws InputError for a dtype or a head size (even, at most 256) that there is no kernel for.
void rope_append(const RopeAppendArgs& args, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
