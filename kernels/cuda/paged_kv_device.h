// Device pointers to one layer's paged KV cache and to the batch's page table; kernels/paged_kv.h has the layouts.
#pragma once

#include <cstdint>

#include "kernels/paged_kv.h"
#include "model/dtype.h"

namespace retrosim::kernels::cuda {

/// Keys and values in `dtype`: bf16, fp8_e4m3 (value = stored * scale) or f32.
struct DeviceKvCache {
  KvShape shape;
  DType dtype = DType::bf16;
  // [num_pages, num_kv_heads, 2 (K, V), page_size, head_dim]
  void* data = nullptr;
  float k_scale = 1.0F;
  float v_scale = 1.0F;
};

struct DevicePageTable {
  std::int64_t batch = 0;
  std::int64_t max_pages = 0;  // columns of `physical`
  // [batch, max_pages] physical page of each logical page
  const std::int32_t* physical = nullptr;
  // [batch] tokens in the cache, the current one included; the current query is at position context_len - 1
  const std::int32_t* context_lens = nullptr;
};

/// Activations, page summaries and output cache are bf16, and float32 where the KV cache is (for identity tests).
constexpr DType activation_dtype(DType kv_dtype) { return kv_dtype == DType::f32 ? DType::f32 : DType::bf16; }

}  // namespace retrosim::kernels::cuda
