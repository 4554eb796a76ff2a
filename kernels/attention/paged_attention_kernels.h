// The compiled variants of the split-KV kernel, one source file per stored type and head size.
#pragma once

#include <cuda.h>

#include "kernels/attention/paged_attention.cuh"

namespace retrosim::kernels::cuda {

/// One compiled kernel.
struct AttentionKernel {
  void (*function)(CUtensorMap, AttentionKernelParams) = nullptr;
  int tile_bytes = 0;
  int query_tile_bytes = 0;  // of shared memory, per row tile
};

template <class Kv, int D>
AttentionKernel attention_kernel(KvLoader loader);

template <>
AttentionKernel attention_kernel<__nv_bfloat16, 64>(KvLoader loader);
template <>
AttentionKernel attention_kernel<__nv_bfloat16, 128>(KvLoader loader);
template <>
AttentionKernel attention_kernel<__nv_bfloat16, 256>(KvLoader loader);
template <>
AttentionKernel attention_kernel<__nv_fp8_e4m3, 64>(KvLoader loader);
template <>
AttentionKernel attention_kernel<__nv_fp8_e4m3, 128>(KvLoader loader);
template <>
AttentionKernel attention_kernel<__nv_fp8_e4m3, 256>(KvLoader loader);

/// What every kernel needs of a launch; row_blocks to stages are the caller's to choose.
AttentionKernelParams attention_params(const DeviceKvCache& cache, const PagedAttentionArgs& args);

/// float32, without tensor cores: identity tests.
void launch_attention_f32(const AttentionKernelParams& params, int head_dim, int batch, cudaStream_t stream);

namespace detail {

template <class Kv, int D>
AttentionKernel choose(KvLoader loader) {
  return {loader == KvLoader::bulk_tensor ? paged_attention<Kv, D, KvLoader::bulk_tensor>
                                          : paged_attention<Kv, D, KvLoader::async_copy>,
          KvTile<Kv, D>::kBytes, D <= 128 ? 0 : D / 16 * 32 * 16};
}

}  // namespace detail
}  // namespace retrosim::kernels::cuda
