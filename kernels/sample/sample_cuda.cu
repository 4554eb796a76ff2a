#include <algorithm>
#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/cuda_step/eight.cuh"
#include "kernels/sample/sample_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// Orders by value, then by lower index; 0 is below every candidate.
__device__ __forceinline__ unsigned long long candidate(float value, std::uint32_t index) {
  if (isnan(value)) return 0;
  if (value == 0.0F) value = 0.0F;  // -0 and 0 are equal
  const std::uint32_t bits = __float_as_uint(value);
  const std::uint32_t ordered = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return static_cast<unsigned long long>(ordered) << 32 | (0xffffffffU - index);
}

template <typename In>
__global__ void __launch_bounds__(kThreads) arg_max(const SampleArgs a) {
  allow_next_kernel();
  wait_for_previous_kernel();
  const std::int64_t b = blockIdx.y;
  const In* logits = static_cast<const In*>(a.logits.data) + b * a.vocab_size;
  unsigned long long best = 0;
  for (std::int64_t first = (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x) * 8; first < a.vocab_size;
       first += static_cast<std::int64_t>(gridDim.x) * kThreads * 8) {
    const Eight x = load_eight_sum(logits + first, a.logits.splits, a.logits.split_stride);
#pragma unroll
    for (int i = 0; i < 8; ++i) best = max(best, candidate(x.v[i], static_cast<std::uint32_t>(first + i)));
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) best = max(best, __shfl_xor_sync(0xffffffffU, best, offset));
  __shared__ unsigned long long warps[kThreads / 32];
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < kThreads / 32; ++i) best = max(best, warps[i]);
  SampleScratch& scratch = a.scratch[b];
  atomicMax(&scratch.best, best);
  __threadfence();
  if (atomicAdd(&scratch.blocks_done, 1U) + 1 != gridDim.x) return;
  __threadfence();
  // The last block sees what all others left.
  const unsigned long long winner = atomicExch(&scratch.best, 0ULL);
  scratch.blocks_done = 0;
  std::int32_t* tokens = a.tokens + b * a.window;
  for (int row = a.window - 1; row > 0; --row) tokens[row] = tokens[row - 1];
  tokens[0] = winner == 0 ? 0 : static_cast<std::int32_t>(0xffffffffU - static_cast<std::uint32_t>(winner));
  if (a.context_lens == nullptr) return;
  const std::int32_t context = a.context_lens[b] + 1;
  a.context_lens[b] = context;
  a.num_rows[b] = min(a.num_rows[b] + 1, a.window);
  if (a.selected_pages != nullptr) a.selected_pages[b] = a.pages_by_context[context];
}

}  // namespace

void sample_greedily(const SampleArgs& a, cudaStream_t stream) {
  if (a.vocab_size < 8 || a.vocab_size % 8 != 0 || a.vocab_size > 1LL << 30) {
    throw InputError("", "vocab_size", std::to_string(a.vocab_size), "a positive multiple of 8, at most 2^30");
  }
  const auto blocks = static_cast<unsigned>(std::clamp<std::int64_t>(a.vocab_size / (kThreads * 8), 1, 64));
  const dim3 grid(blocks, static_cast<unsigned>(a.batch));
  if (a.logits.dtype == DType::f32) {
    cuda::launch(arg_max<float>, grid, kThreads, 0, stream, a);
  } else {
    cuda::launch(arg_max<__nv_bfloat16>, grid, kThreads, 0, stream, a);
  }
}

}  // namespace retrosim::kernels::cuda
