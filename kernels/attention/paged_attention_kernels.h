// The compiled variants of the split-KV kernel, one source file per stored type and head size.
#pragma once

#include <cuda.h>

#include "kernels/attention/paged_attention.cuh"

namespace retrosim::kernels::cuda {

/// One compiled kernel: `row_tiles` 16-row tiles per block, `slices` warps per group.
struct AttentionKernel {
  void (*function)(CUtensorMap, AttentionKernelParams) = nullptr;
  int row_tiles = 1;
  int slices = 1;
  int tile_bytes = 0;
  int query_tiles_in_shared = 0;
};

/// The smallest kernel for `row_tiles` tiles of rows, or the largest one if there is none.
template <class Kv, int D>
AttentionKernel attention_kernel(int row_tiles, KvLoader loader);

template <>
AttentionKernel attention_kernel<__nv_bfloat16, 64>(int row_tiles, KvLoader loader);
template <>
AttentionKernel attention_kernel<__nv_bfloat16, 128>(int row_tiles, KvLoader loader);
template <>
AttentionKernel attention_kernel<__nv_bfloat16, 256>(int row_tiles, KvLoader loader);
template <>
AttentionKernel attention_kernel<__nv_fp8_e4m3, 64>(int row_tiles, KvLoader loader);
template <>
AttentionKernel attention_kernel<__nv_fp8_e4m3, 128>(int row_tiles, KvLoader loader);
template <>
AttentionKernel attention_kernel<__nv_fp8_e4m3, 256>(int row_tiles, KvLoader loader);

/// What every kernel needs of a launch; row_blocks, warps and stages are the caller's to choose.
AttentionKernelParams attention_params(const DeviceKvCache& cache, const PagedAttentionArgs& args);

/// float32, without tensor cores: identity tests.
void launch_attention_f32(const AttentionKernelParams& params, int head_dim, int batch, cudaStream_t stream);

namespace detail {

/// Accumulators of one lane, MT * D / 2 / DSplit registers, stay at or below 128.
template <class Kv, int D, int MT, KvLoader Loader>
AttentionKernel describe() {
  constexpr int kSlices = MT * D <= 256 ? 1 : MT * D / 256;
  return {paged_attention<Kv, D, MT, kSlices, Loader>, MT, kSlices, KvTile<Kv, D>::kBytes, D <= 128 ? MT - 1 : MT};
}

template <class Kv, int D, KvLoader Loader>
AttentionKernel choose(int row_tiles) {
  if (row_tiles <= 1) return describe<Kv, D, 1, Loader>();
  if (row_tiles <= 2) return describe<Kv, D, 2, Loader>();
  if constexpr (D <= 128) {
    if (row_tiles > 4) return describe<Kv, D, 8, Loader>();
  }
  return describe<Kv, D, 4, Loader>();
}

template <class Kv, int D>
AttentionKernel choose(int row_tiles, KvLoader loader) {
  return loader == KvLoader::bulk_tensor ? choose<Kv, D, KvLoader::bulk_tensor>(row_tiles)
                                         : choose<Kv, D, KvLoader::async_copy>(row_tiles);
}

}  // namespace detail
}  // namespace retrosim::kernels::cuda
