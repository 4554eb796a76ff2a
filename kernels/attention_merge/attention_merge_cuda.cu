#include <string>

#include "kernels/attention_merge/attention_merge_cuda.h"
#include "kernels/cuda/four.cuh"
#include "kernels/cuda/launch.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {

namespace {

constexpr int kMergeWarps = 4;

/// A running sum of partial results: values / total, with log-sum-exp largest + log(total). Lane i holds elements
/// 4 i .. 4 i + 3 of each 128.
template <int D>
struct PartialSum {
  static constexpr int kVectors = (D + 127) / 128;
  static constexpr int kLanes = D < 128 ? D / 4 : 32;  // lanes with elements
  float largest = -INFINITY;
  float total = 0;
  float4 values[kVectors] = {};
};

/// Adds up every kMergeWarps-th split from `warp` on; `largest` is that of all splits. The values are on their way
/// before it is known which splits have any: those of the others are loaded in vain, and may be anything.
template <int D>
__device__ PartialSum<D> sum_splits(const AttentionPartials& partials, std::int64_t row, int splits, int warp,
                                    int lane) {
  using Sum = PartialSum<D>;
  constexpr int kAtOnce = 32 / kMergeWarps;
  Sum result;
  for (int base = 0; base < splits; base += 32) {
    // The log-sum-exps of 32 splits across the lanes, the values of this warp's splits among them.
    const int split = base + lane;
    const float lse = split < splits ? partials.lse[row * splits + split] : -INFINITY;
    float4 loaded[kAtOnce][Sum::kVectors];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int mine = base + i * kMergeWarps + warp;
#pragma unroll
      for (int v = 0; v < Sum::kVectors; ++v) {
        loaded[i][v] = mine < splits && lane < Sum::kLanes
                           ? load4(partials.values + (row * splits + mine) * D + v * 128 + lane * 4)
                           : float4{};
      }
    }
    float of_all = lse;
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      of_all = fmaxf(of_all, __shfl_xor_sync(0xffffffffU, of_all, offset));
    }
    const float new_largest = fmaxf(result.largest, of_all);
    if (new_largest == -INFINITY) continue;
    const float factor = __expf(result.largest - new_largest);
    result.total *= factor;
#pragma unroll
    for (int v = 0; v < Sum::kVectors; ++v) result.values[v] = scaled(result.values[v], factor);
    result.largest = new_largest;
    const float weight = __expf(lse - new_largest);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const float w = __shfl_sync(0xffffffffU, weight, i * kMergeWarps + warp);
      if (w == 0.0F) continue;  // its values may not have been written
      result.total += w;
#pragma unroll
      for (int v = 0; v < Sum::kVectors; ++v) result.values[v] = sum(result.values[v], scaled(loaded[i][v], w));
    }
  }
  return result;
}

/// Blocks of (query head, pair of rows, sequence): four warps for row i, four for row window - 1 - i. Row 0 (Push) and
/// row window - 1 (Pop) share a slot of the ring, and one block, so that the entry is read before it is overwritten.
template <class T, int D>
__global__ void __launch_bounds__(2 * kMergeWarps * 32) merge_kernel(const AttentionMergeArgs args) {
  using Sum = PartialSum<D>;
  __shared__ float4 warp_values[2][kMergeWarps][Sum::kVectors * 32];
  __shared__ float warp_total[2][kMergeWarps];
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int side = static_cast<int>(threadIdx.x) / (kMergeWarps * 32);
  const int warp = (static_cast<int>(threadIdx.x) >> 5) % kMergeWarps;
  const int head = static_cast<int>(blockIdx.x);
  const auto window = static_cast<int>(args.window);
  const int age = side == 0 ? static_cast<int>(blockIdx.y) : window - 1 - static_cast<int>(blockIdx.y);
  const bool has_row = side == 0 || age > static_cast<int>(blockIdx.y);
  const auto sequence = static_cast<int>(blockIdx.z);
  const int batch = static_cast<int>(gridDim.z);
  const auto num_heads = static_cast<int>(gridDim.x);
  const std::int64_t row = (static_cast<std::int64_t>(sequence) * window + age) * num_heads + head;

  const int position = args.table.context_lens[sequence] - 1 - age;
  const bool exists = has_row && age < args.num_rows[sequence];
  allow_next_kernel();
  wait_for_previous_kernel();
  const std::int64_t entry = args.slots > 0 ? ((position % args.slots) * batch + sequence) * num_heads + head : 0;
  auto* cached = static_cast<T*>(args.cache_values) + entry * D;
  float cached_lse = -INFINITY;
  float4 old[Sum::kVectors] = {};
  if (warp == 0 && exists && args.slots > 0 && age > 0) {
    cached_lse = args.cache_lse[entry];
#pragma unroll
    for (int v = 0; v < Sum::kVectors; ++v) {
      if (lane < Sum::kLanes) old[v] = load4(cached + v * 128 + lane * 4);
    }
  }
  // The list's selected pages are shared out among its blocks: this thread's page is on its way from here on.
  const bool stamps = args.last_loaded != nullptr;
  const int heads_per_list = stamps ? num_heads / static_cast<int>(args.num_lists) : 1;
  const std::int64_t list = stamps ? sequence * args.num_lists + head / heads_per_list : 0;
  const int first_stamp =
      static_cast<int>((blockIdx.y * heads_per_list + head % heads_per_list) * blockDim.x + threadIdx.x);
  int count = 0;
  int page = 0;
  if (stamps && first_stamp < args.k_max) {
    count = args.counts[list];
    page = args.selected[list * args.k_max + first_stamp];
  }
  Sum mine;
  if (exists) {
    mine = sum_splits<D>(args.partials, row, static_cast<int>(args.num_splits), warp, lane);
#pragma unroll
    for (int v = 0; v < Sum::kVectors; ++v) warp_values[side][warp][v * 32 + lane] = mine.values[v];
    if (lane == 0) warp_total[side][warp] = mine.total;
  }
  __syncthreads();

  // The first warp of each side adds the warps' sums and the output cache's entry.
  float lse = -INFINITY;
  float4 merged[Sum::kVectors] = {};
  if (warp == 0 && exists) {
    if (mine.largest != -INFINITY) {
      float total = 0;
#pragma unroll
      for (int w = 0; w < kMergeWarps; ++w) total += warp_total[side][w];
      lse = mine.largest + __logf(total);
#pragma unroll
      for (int v = 0; v < Sum::kVectors; ++v) {
#pragma unroll
        for (int w = 0; w < kMergeWarps; ++w) merged[v] = sum(merged[v], warp_values[side][w][v * 32 + lane]);
        merged[v] = scaled(merged[v], 1.0F / total);
      }
    }
    if (cached_lse != -INFINITY) {
      const float top = fmaxf(lse, cached_lse);
      const float weight = __expf(lse - top);
      const float other = __expf(cached_lse - top);
#pragma unroll
      for (int v = 0; v < Sum::kVectors; ++v) {
        merged[v] = lse == -INFINITY
                        ? old[v]
                        : sum(scaled(merged[v], weight / (weight + other)), scaled(old[v], other / (weight + other)));
      }
      lse = lse == -INFINITY ? cached_lse : top + __logf(weight + other);
    }
  }
  __syncthreads();
  if (warp == 0 && has_row) {
    auto* out = static_cast<T*>(args.out) + row * D;
    const bool caches = exists && args.slots > 0 && age < args.slots;  // the row that leaves is not stored back
#pragma unroll
    for (int v = 0; v < Sum::kVectors; ++v) {
      if (lane >= Sum::kLanes) continue;
      if (caches) store4(cached + v * 128 + lane * 4, merged[v]);
      store4(out + v * 128 + lane * 4, merged[v]);
    }
    if (lane == 0 && caches) args.cache_lse[entry] = lse;
    if (lane == 0 && args.lse != nullptr) args.lse[row] = lse;
  }
  if (!stamps) return;
  const int now = args.table.context_lens[sequence] - 1;
  std::int32_t* of_list = args.last_loaded + list * args.table.max_pages;
  if (first_stamp < count) of_list[page] = now;
  const int stride = static_cast<int>(gridDim.y * blockDim.x) * heads_per_list;
  for (int i = first_stamp + stride; i < count; i += stride) of_list[args.selected[list * args.k_max + i]] = now;
}

template <class T>
void merge_typed(const AttentionMergeArgs& args, cudaStream_t stream) {
  auto* kernel = args.head_dim == 64    ? merge_kernel<T, 64>
                 : args.head_dim == 128 ? merge_kernel<T, 128>
                                        : merge_kernel<T, 256>;
  const dim3 grid(static_cast<unsigned>(args.num_q_heads), static_cast<unsigned>((args.window + 1) / 2),
                  static_cast<unsigned>(args.table.batch));
  const int sides = args.window > 1 ? 2 : 1;
  launch(kernel, grid, dim3(static_cast<unsigned>(sides * kMergeWarps * 32)), 0, stream, args);
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
