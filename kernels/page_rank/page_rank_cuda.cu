#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/cuda/check.h"
#include "kernels/cuda/convert.cuh"
#include "kernels/page_rank/page_rank_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kMaxGroup = 8;

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffU, x, offset);
  return x;
}

/// One warp per page, KV head and sequence; lane l holds elements l, l + 32, ... of every vector.
template <typename T, int D>
__global__ void __launch_bounds__(kWarps * 32)
    page_partials_kernel(const PageRankArgs a, float* largest_out, float* sum_out, float scale) {
  constexpr int kPerLane = D / 32;
  const KvShape shape = a.cache.shape;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const std::int64_t page = blockIdx.x * static_cast<std::int64_t>(kWarps) + (threadIdx.x >> 5);
  const std::int64_t kv_head = blockIdx.y;
  const std::int64_t b = blockIdx.z;
  const std::int64_t context = a.table.context_lens[b];
  if (page * shape.page_size >= context) return;
  const auto group = static_cast<int>(a.num_q_heads / shape.num_kv_heads);
  const T* q = static_cast<const T*>(a.q) + (b * a.num_q_heads + kv_head * group) * D;
  const T* keys = static_cast<const T*>(a.cache.data) +
                  shape.key_offset(a.table.physical[b * a.table.max_pages + page], kv_head, 0);
  const auto tokens = static_cast<int>(min(shape.page_size, context - page * shape.page_size));

  float query[kMaxGroup][kPerLane];
  float best[kMaxGroup][kPerLane];
  float largest[kMaxGroup];
  float sum[kMaxGroup];
#pragma unroll
  for (int g = 0; g < kMaxGroup; ++g) {
    largest[g] = -INFINITY;
    sum[g] = 0;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      query[g][i] = g < group ? to_float(q[g * D + i * 32 + lane]) : 0.0F;
      best[g][i] = -INFINITY;
    }
  }
  for (int token = 0; token < tokens; ++token) {
    float key[kPerLane];
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) key[i] = to_float(keys[token * D + i * 32 + lane]);
#pragma unroll
    for (int g = 0; g < kMaxGroup; ++g) {
      if (g >= group) break;
      float dot = 0;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const float product = query[g][i] * key[i];
        best[g][i] = fmaxf(best[g][i], product);
        dot += product;
      }
      const float logit = warp_sum(dot) * scale;
      const float above = fmaxf(largest[g], logit);
      sum[g] = sum[g] * expf(largest[g] - above) + expf(logit - above);
      largest[g] = above;
    }
  }
  float score = -INFINITY;
#pragma unroll
  for (int g = 0; g < kMaxGroup; ++g) {
    if (g >= group) break;
    float of_lane = 0;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) of_lane += best[g][i];
    score = fmaxf(score, warp_sum(of_lane));
    const std::int64_t at = (b * a.num_q_heads + kv_head * group + g) * a.table.max_pages + page;
    if (lane == 0) {
      largest_out[at] = largest[g];
      sum_out[at] = sum[g];
    }
  }
  if (lane == 0) a.scores[(b * shape.num_kv_heads + kv_head) * a.table.max_pages + page] = score;
}

constexpr int kMassThreads = 256;

/// Block reduction; every thread gets the result.
template <bool IsMax>
__device__ float reduce(float x, float* shared) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(0xffffffffU, x, offset);
    x = IsMax ? fmaxf(x, other) : x + other;
  }
  __syncthreads();
  if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = x;
  __syncthreads();
  x = shared[0];
  for (int warp = 1; warp < kMassThreads / 32; ++warp) x = IsMax ? fmaxf(x, shared[warp]) : x + shared[warp];
  return x;
}

/// One block per KV head and sequence.
__global__ void __launch_bounds__(kMassThreads)
    page_mass_kernel(const PageRankArgs a, const float* largest, const float* sum) {
  __shared__ float shared[kMassThreads / 32];
  const KvShape shape = a.cache.shape;
  const std::int64_t kv_head = blockIdx.x;
  const std::int64_t b = blockIdx.y;
  const std::int64_t pages = (a.table.context_lens[b] + shape.page_size - 1) / shape.page_size;
  const std::int64_t group = a.num_q_heads / shape.num_kv_heads;
  float* mass = a.mass + (b * shape.num_kv_heads + kv_head) * a.table.max_pages;
  for (std::int64_t g = 0; g < group; ++g) {
    const std::int64_t row = (b * a.num_q_heads + kv_head * group + g) * a.table.max_pages;
    float top = -INFINITY;
    for (std::int64_t page = threadIdx.x; page < pages; page += kMassThreads) top = fmaxf(top, largest[row + page]);
    top = reduce<true>(top, shared);
    float total = 0;
    for (std::int64_t page = threadIdx.x; page < pages; page += kMassThreads) {
      total += expf(largest[row + page] - top) * sum[row + page];
    }
    total = reduce<false>(total, shared);
    const float share = 1.0F / (total * static_cast<float>(group));
    for (std::int64_t page = threadIdx.x; page < pages; page += kMassThreads) {
      const float own = expf(largest[row + page] - top) * sum[row + page] * share;
      mass[page] = g == 0 ? own : mass[page] + own;
    }
  }
}

template <typename T>
void launch_partials(const PageRankArgs& args, PageRankScratch& scratch, cudaStream_t stream) {
  const std::int64_t d = args.cache.shape.head_dim;
  auto* kernel = d == 64    ? page_partials_kernel<T, 64>
                 : d == 128 ? page_partials_kernel<T, 128>
                            : page_partials_kernel<T, 256>;
  const dim3 grid(static_cast<unsigned>((args.table.max_pages + kWarps - 1) / kWarps),
                  static_cast<unsigned>(args.cache.shape.num_kv_heads), static_cast<unsigned>(args.table.batch));
  kernel<<<grid, kWarps * 32, 0, stream>>>(args, scratch.largest.data(), scratch.sum.data(),
                                           1.0F / std::sqrt(static_cast<float>(d)));
  RETROSIM_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void rank_pages(const PageRankArgs& args, PageRankScratch& scratch, cudaStream_t stream) {
  const KvShape& shape = args.cache.shape;
  if (shape.head_dim != 64 && shape.head_dim != 128 && shape.head_dim != 256) {
    throw InputError("", "head_dim", std::to_string(shape.head_dim), "64, 128 or 256");
  }
  if (args.num_q_heads / shape.num_kv_heads > kMaxGroup) {
    throw InputError("", "num_q_heads", std::to_string(args.num_q_heads), "at most 8 per KV head");
  }
  const auto entries = static_cast<std::size_t>(args.table.batch * args.num_q_heads * args.table.max_pages);
  if (scratch.sum.size() < entries) {
    scratch.largest = DeviceBuffer<float>(entries);
    scratch.sum = DeviceBuffer<float>(entries);
  }
  if (args.cache.dtype == DType::f32) {
    launch_partials<float>(args, scratch, stream);
  } else if (args.cache.dtype == DType::bf16) {
    launch_partials<__nv_bfloat16>(args, scratch, stream);
  } else {
    throw InputError("", "kv_cache_dtype", name_of(args.cache.dtype), "bfloat16 or float32");
  }
  page_mass_kernel<<<dim3(static_cast<unsigned>(shape.num_kv_heads), static_cast<unsigned>(args.table.batch)),
                     kMassThreads, 0, stream>>>(args, scratch.largest.data(), scratch.sum.data());
  RETROSIM_CUDA_CHECK(cudaGetLastError());
}

}  // namespace retrosim::kernels::cuda
