#include <string>

#include "kernels/attention_merge/attention_merge_cuda.h"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {

namespace {

constexpr int kMergeWarps = 4;

__device__ inline float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }
__device__ inline float4 load4(const __nv_bfloat16* from) {
  const uint2 packed = *reinterpret_cast<const uint2*>(from);
  const float2 low = bf16x2_to_float2(packed.x);
  const float2 high = bf16x2_to_float2(packed.y);
  return {low.x, low.y, high.x, high.y};
}
__device__ inline void store4(float* to, float4 v) { *reinterpret_cast<float4*>(to) = v; }
__device__ inline void store4(__nv_bfloat16* to, float4 v) {
  *reinterpret_cast<uint2*>(to) = {pack_bf16x2(v.x, v.y), pack_bf16x2(v.z, v.w)};
}
__device__ inline float4 scaled(float4 v, float factor) {
  return {v.x * factor, v.y * factor, v.z * factor, v.w * factor};
}
__device__ inline float4 sum(float4 a, float4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }

/// One block per (query head, row, sequence): each warp adds up every fourth split, then the first warp merges the
/// warps' sums and the output cache's entry. Lane i holds elements 4 i .. 4 i + 3 of each 128.
template <class T, int D>
__global__ void __launch_bounds__(kMergeWarps * 32) merge_kernel(const AttentionMergeArgs args) {
  constexpr int kVectors = (D + 127) / 128;
  constexpr int kLanes = D < 128 ? D / 4 : 32;  // lanes with elements
  __shared__ float4 warp_values[kMergeWarps][kVectors * 32];
  __shared__ float warp_max[kMergeWarps];
  __shared__ float warp_sum[kMergeWarps];
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const int head = static_cast<int>(blockIdx.x);
  const int age = static_cast<int>(blockIdx.y);
  const int sequence = static_cast<int>(blockIdx.z);
  const int batch = static_cast<int>(gridDim.z);
  const auto num_heads = static_cast<int>(gridDim.x);
  const auto splits = static_cast<int>(args.num_splits);
  const std::int64_t row = (static_cast<std::int64_t>(sequence) * args.window + age) * num_heads + head;
  auto* out = static_cast<T*>(args.out) + row * D;

  wait_for_previous_kernel();
  allow_next_kernel();
  const int position = args.table.context_lens[sequence] - 1 - age;
  if (age >= args.num_rows[sequence]) {
    if (warp == 0) {
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        if (lane < kLanes) store4(out + v * 128 + lane * 4, float4{});
      }
      if (lane == 0 && args.lse != nullptr) args.lse[row] = -INFINITY;
    }
    return;
  }

  float largest = -INFINITY;
  float total = 0;
  float4 values[kVectors] = {};
  for (int base = 0; base < splits; base += 32) {
    // The log-sum-exps of 32 splits across the lanes, then the values of this warp's splits among them.
    const int split = base + lane;
    const float lse = split < splits ? args.partials.lse[row * splits + split] : -INFINITY;
    float of_all = lse;
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      of_all = fmaxf(of_all, __shfl_xor_sync(0xffffffffU, of_all, offset));
    }
    const float new_largest = fmaxf(largest, of_all);
    if (new_largest == -INFINITY) continue;
    const float factor = __expf(largest - new_largest);
    total *= factor;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) values[v] = scaled(values[v], factor);
    largest = new_largest;
    const float weight = __expf(lse - largest);
#pragma unroll
    for (int i = 0; i < 32; i += kMergeWarps) {
      const float w = __shfl_sync(0xffffffffU, weight, i + warp);
      if (w == 0.0F) continue;  // its values may not have been written
      total += w;
      const float* from = args.partials.values + (row * splits + base + i + warp) * D;
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        if (lane < kLanes) values[v] = sum(values[v], scaled(load4(from + v * 128 + lane * 4), w));
      }
    }
  }
#pragma unroll
  for (int v = 0; v < kVectors; ++v) warp_values[warp][v * 32 + lane] = values[v];
  if (lane == 0) {
    warp_max[warp] = largest;
    warp_sum[warp] = total;
  }
  __syncthreads();

  if (warp == 0) {  // every warp saw the same log-sum-exps, so `largest` is the same in all
    total = 0;
#pragma unroll
    for (int w = 0; w < kMergeWarps; ++w) total += warp_sum[w];
    float lse = largest + __logf(total);
    float4 merged[kVectors] = {};
    if (largest == -INFINITY) {
      lse = -INFINITY;
    } else {
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        for (int w = 0; w < kMergeWarps; ++w) merged[v] = sum(merged[v], warp_values[w][v * 32 + lane]);
        merged[v] = scaled(merged[v], 1.0F / total);
      }
    }
    if (args.slots > 0) {
      const std::int64_t entry = ((position % args.slots) * batch + sequence) * num_heads + head;
      auto* cached = static_cast<T*>(args.cache_values) + entry * D;
      if (age > 0) {
        const float cached_lse = args.cache_lse[entry];
        if (cached_lse != -INFINITY) {
          const float top = fmaxf(lse, cached_lse);
          const float mine = __expf(lse - top);
          const float other = __expf(cached_lse - top);
          const float both = mine + other;
#pragma unroll
          for (int v = 0; v < kVectors; ++v) {
            if (lane >= kLanes) continue;
            const float4 old = load4(cached + v * 128 + lane * 4);
            merged[v] = lse == -INFINITY ? old : sum(scaled(merged[v], mine / both), scaled(old, other / both));
          }
          lse = lse == -INFINITY ? cached_lse : top + __logf(both);
        }
      }
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        if (lane < kLanes) store4(cached + v * 128 + lane * 4, merged[v]);
      }
      if (lane == 0) args.cache_lse[entry] = lse;
    }
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      if (lane < kLanes) store4(out + v * 128 + lane * 4, merged[v]);
    }
    if (lane == 0 && args.lse != nullptr) args.lse[row] = lse;
  } else if (args.last_loaded != nullptr && age == 0) {
    const auto heads_per_list = num_heads / static_cast<int>(args.num_lists);
    if (head % heads_per_list != 0) return;
    const std::int64_t list = sequence * args.num_lists + head / heads_per_list;
    const std::int32_t* selected = args.selected + list * args.k_max;
    std::int32_t* stamps = args.last_loaded + list * args.table.max_pages;
    for (int i = static_cast<int>(threadIdx.x) - 32; i < args.counts[list]; i += (kMergeWarps - 1) * 32) {
      stamps[selected[i]] = position;
    }
  }
}

template <class T>
void merge_typed(const AttentionMergeArgs& args, cudaStream_t stream) {
  auto* kernel = args.head_dim == 64    ? merge_kernel<T, 64>
                 : args.head_dim == 128 ? merge_kernel<T, 128>
                                        : merge_kernel<T, 256>;
  const dim3 grid(static_cast<unsigned>(args.num_q_heads), static_cast<unsigned>(args.window),
                  static_cast<unsigned>(args.table.batch));
  launch(kernel, grid, dim3(kMergeWarps * 32), 0, stream, args);
}

}  // namespace

void merge_attention(const AttentionMergeArgs& args, cudaStream_t stream) {
  if (args.head_dim != 64 && args.head_dim != 128 && args.head_dim != 256) {
    throw InputError("", "head_dim", std::to_string(args.head_dim), "64, 128 or 256");
  }
  if (args.dtype == DType::f32) {
    merge_typed<float>(args, stream);
  } else {
    merge_typed<__nv_bfloat16>(args, stream);
  }
}

}  // namespace retrosim::kernels::cuda
