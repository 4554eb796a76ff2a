#include <string>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/page_score/page_score_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {

namespace {

constexpr int kWarps = 4;
constexpr int kPagesPerWarp = 16;

struct Task {
  int head;   // KV head
  int first;  // of 16 logical pages
};

/// Warps next to each other take the same pages' heads, which lie next to each other in memory.
__device__ inline Task task_of(int kv_heads) {
  const int warp = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
  return {warp % kv_heads, warp / kv_heads * kPagesPerWarp};
}

__device__ inline uint4 load_once(const void* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

__device__ inline std::uint32_t negative_part(std::uint32_t pair) {
  const __nv_bfloat162 v = __hmin2(reinterpret_cast<const __nv_bfloat162&>(pair), __float2bfloat162_rn(0.0F));
  return reinterpret_cast<const std::uint32_t&>(v);
}
__device__ inline std::uint32_t positive_part(std::uint32_t pair) {
  const __nv_bfloat162 v = __hmax2(reinterpret_cast<const __nv_bfloat162&>(pair), __float2bfloat162_rn(0.0F));
  return reinterpret_cast<const std::uint32_t&>(v);
}

/// scores[page, head] = [min(q, 0), max(q, 0)] . [kmin, kmax]: a product with K = 2 D on tensor cores. A warp's 16
/// pages are the rows of A; their summaries go from global memory straight into fragments, with the same permutation of
/// K in A and B: lane quad q holds elements 32 j + 8 q .. + 7 of each 32.
template <int D, int HeadTiles>
__global__ void __launch_bounds__(kWarps * 32) score_kernel(const PageScoreArgs args) {
  constexpr int kSteps = 2 * D / 32;  // of 32 elements of K
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int row = lane >> 2;
  const int quad = lane & 3;
  const auto kv_heads = static_cast<int>(args.shape.num_kv_heads);
  const int group = static_cast<int>(args.num_q_heads) / kv_heads;
  const auto max_pages = static_cast<int>(args.table.max_pages);
  const int sequence = static_cast<int>(blockIdx.y);
  const Task task = task_of(kv_heads);
  if (task.first >= max_pages) return;
  const int page_size = static_cast<int>(args.shape.page_size);
  const int pages = (args.table.context_lens[sequence] + page_size - 1) / page_size;
  const std::int32_t* physical = args.table.physical + static_cast<std::int64_t>(sequence) * max_pages;

  const int pages_of_lane[2] = {physical[min(task.first + row, pages - 1)],
                                physical[min(task.first + row + 8, pages - 1)]};
  wait_for_previous_kernel();

  float scores[HeadTiles][4] = {};
  if (task.first < pages) {
    uint4 a[2][kSteps];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto* summary = static_cast<const uint4*>(args.summaries) +
                            (static_cast<std::int64_t>(pages_of_lane[half]) * kv_heads + task.head) * (2 * D / 8);
#pragma unroll
      for (int step = 0; step < kSteps; ++step) a[half][step] = load_once(summary + step * 4 + quad);
    }
    allow_next_kernel();
#pragma unroll
    for (int tile = 0; tile < HeadTiles; ++tile) {
      const int head = tile * 8 + row;
      uint4 q[kSteps / 2] = {};
      if (head < group) {
        const auto* query = reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(args.q) +
                                                           sequence * args.q_stride + (task.head * group + head) * D);
#pragma unroll
        for (int step = 0; step < kSteps / 2; ++step) q[step] = query[step * 4 + quad];
      }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const uint4 both = q[step % (kSteps / 2)];
        const bool is_min = step < kSteps / 2;
        const uint4 b =
            is_min ? uint4{negative_part(both.x), negative_part(both.y), negative_part(both.z), negative_part(both.w)}
                   : uint4{positive_part(both.x), positive_part(both.y), positive_part(both.z), positive_part(both.w)};
        const std::uint32_t a0[4] = {a[0][step].x, a[1][step].x, a[0][step].y, a[1][step].y};
        const std::uint32_t a1[4] = {a[0][step].z, a[1][step].z, a[0][step].w, a[1][step].w};
        mma_bf16(scores[tile], a0, b.x, b.y);
        mma_bf16(scores[tile], a1, b.z, b.w);
      }
    }
  }

  const auto lists = static_cast<int>(selection_heads(args.reduction, args.num_q_heads, kv_heads));
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int logical = task.first + row + half * 8;
    float reduced = args.reduction == GroupReduction::max ? -INFINITY : 0.0F;
#pragma unroll
    for (int tile = 0; tile < HeadTiles; ++tile) {
#pragma unroll
      for (int column = 0; column < 2; ++column) {
        const int head = tile * 8 + quad * 2 + column;
        const float score = scores[tile][half * 2 + column];
        if (head >= group) continue;
        if (args.reduction == GroupReduction::max) {
          reduced = fmaxf(reduced, score);
        } else {
          reduced += score;
        }
        if (args.reduction == GroupReduction::per_query_head && logical < max_pages) {
          args.scores[(static_cast<std::int64_t>(sequence) * lists + task.head * group + head) * max_pages + logical] =
              logical < pages ? score : -INFINITY;
        }
      }
    }
    if (args.reduction == GroupReduction::per_query_head) continue;
#pragma unroll
    for (int offset = 1; offset < 4; offset *= 2) {
      const float other = __shfl_xor_sync(0xffffffffU, reduced, offset);
      reduced = args.reduction == GroupReduction::max ? fmaxf(reduced, other) : reduced + other;
    }
    if (args.reduction == GroupReduction::mean) reduced /= static_cast<float>(group);
    if (quad == 0 && logical < max_pages) {
      args.scores[(static_cast<std::int64_t>(sequence) * lists + task.head) * max_pages + logical] =
          logical < pages ? reduced : -INFINITY;
    }
  }
}

/// Float32: one warp per page and KV head.
__global__ void __launch_bounds__(128) score_f32_kernel(const PageScoreArgs args) {
  wait_for_previous_kernel();
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const auto kv_heads = static_cast<int>(args.shape.num_kv_heads);
  const int group = static_cast<int>(args.num_q_heads) / kv_heads;
  const auto dim = static_cast<int>(args.shape.head_dim);
  const auto max_pages = static_cast<int>(args.table.max_pages);
  const int sequence = static_cast<int>(blockIdx.y);
  const int warp = static_cast<int>(blockIdx.x) * 4 + static_cast<int>(threadIdx.x) / 32;
  const int kv_head = warp % kv_heads;
  const int logical = warp / kv_heads;
  if (logical >= max_pages) return;
  const auto page_size = static_cast<int>(args.shape.page_size);
  const int pages = (args.table.context_lens[sequence] + page_size - 1) / page_size;
  const auto lists = static_cast<int>(selection_heads(args.reduction, args.num_q_heads, kv_heads));
  float reduced = args.reduction == GroupReduction::max ? -INFINITY : 0.0F;
  for (int head = 0; head < group; ++head) {
    float score = 0;
    if (logical < pages) {
      const std::int64_t page = args.table.physical[static_cast<std::int64_t>(sequence) * max_pages + logical];
      const float* low = static_cast<const float*>(args.summaries) + args.shape.min_offset(page, kv_head);
      const float* high = low + dim;
      const float* query =
          static_cast<const float*>(args.q) + sequence * args.q_stride + (kv_head * group + head) * dim;
      for (int i = lane; i < dim; i += 32) score += fmaxf(query[i] * low[i], query[i] * high[i]);
      for (int offset = 16; offset > 0; offset /= 2) score += __shfl_xor_sync(0xffffffffU, score, offset);
    } else {
      score = -INFINITY;
    }
    reduced = args.reduction == GroupReduction::max ? fmaxf(reduced, score) : reduced + score;
    if (args.reduction == GroupReduction::per_query_head && lane == 0) {
      args.scores[(static_cast<std::int64_t>(sequence) * lists + kv_head * group + head) * max_pages + logical] = score;
    }
  }
  if (args.reduction == GroupReduction::mean) reduced /= static_cast<float>(group);
  if (args.reduction != GroupReduction::per_query_head && lane == 0) {
    args.scores[(static_cast<std::int64_t>(sequence) * lists + kv_head) * max_pages + logical] = reduced;
  }
}

/// One warp per 4 KB of a page's summaries of all heads.
__global__ void __launch_bounds__(kWarps * 32) gather_summaries_kernel(const PageScoreArgs args, std::uint32_t* sink) {
  wait_for_previous_kernel();
  constexpr int kVectors = 8;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const std::int64_t page_vectors = args.shape.num_kv_heads * args.shape.head_dim * 2 / 8;
  const int pieces = static_cast<int>((page_vectors + 32 * kVectors - 1) / (32 * kVectors));
  const int warp = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
  const int logical = warp / pieces;
  const std::int64_t sequence = blockIdx.y;
  const auto page_size = static_cast<int>(args.shape.page_size);
  if (logical >= (args.table.context_lens[sequence] + page_size - 1) / page_size) return;
  const std::int64_t page = args.table.physical[sequence * args.table.max_pages + logical];
  const std::int64_t first = static_cast<std::int64_t>(warp % pieces) * 32 * kVectors + lane;
  const auto* from = static_cast<const uint4*>(args.summaries) + page * page_vectors;
  uint4 v[kVectors] = {};
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    if (first + i * 32 < page_vectors) v[i] = load_once(from + first + i * 32);
  }
  std::uint32_t all = 0;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) all ^= v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
  if (all == 0x5eed5eedU) *sink = all;
}

template <int D>
void score_typed(const PageScoreArgs& args, dim3 grid, cudaStream_t stream) {
  auto* kernel = args.num_q_heads / args.shape.num_kv_heads <= 8 ? score_kernel<D, 1> : score_kernel<D, 2>;
  launch(kernel, grid, dim3(kWarps * 32), 0, stream, args);
}

}  // namespace

void page_scores(const PageScoreArgs& args, cudaStream_t stream) {
  const std::int64_t group = args.num_q_heads / args.shape.num_kv_heads;
  if (group > 16) throw InputError("", "query group", std::to_string(group), "at most 16");
  const auto batch = static_cast<unsigned>(args.table.batch);
  if (args.dtype == DType::f32) {
    const std::int64_t warps = args.table.max_pages * args.shape.num_kv_heads;
    launch(score_f32_kernel, dim3(static_cast<unsigned>((warps + 3) / 4), batch), dim3(128), 0, stream, args);
    return;
  }
  const std::int64_t warps = (args.table.max_pages + kPagesPerWarp - 1) / kPagesPerWarp * args.shape.num_kv_heads;
  const dim3 grid(static_cast<unsigned>((warps + kWarps - 1) / kWarps), batch);
  switch (args.shape.head_dim) {
    case 64: return score_typed<64>(args, grid, stream);
    case 128: return score_typed<128>(args, grid, stream);
    case 256: return score_typed<256>(args, grid, stream);
    default: throw InputError("", "head_dim", std::to_string(args.shape.head_dim), "64, 128 or 256");
  }
}

void gather_summaries(const PageScoreArgs& args, std::uint32_t* sink, cudaStream_t stream) {
  const std::int64_t vectors = args.shape.num_kv_heads * args.shape.head_dim * 2 / 8;
  const std::int64_t warps = args.table.max_pages * ((vectors + 255) / 256);
  launch(gather_summaries_kernel,
         dim3(static_cast<unsigned>((warps + kWarps - 1) / kWarps), static_cast<unsigned>(args.table.batch)),
         dim3(kWarps * 32), 0, stream, args, sink);
}

}  // namespace retrosim::kernels::cuda
