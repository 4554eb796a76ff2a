#include "kernels/cuda/launch.h"
#include "kernels/matmul/plain_matmul_cuda.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kWarps = 8;

// One warp per element of Y.
__global__ void __launch_bounds__(kWarps * 32) plain_matmul_kernel(std::int64_t n, std::int64_t k, const float* x,
                                                                   const float* weights, const float* bias, float* y) {
  allow_next_kernel();
  wait_for_previous_kernel();
  const std::int64_t column = blockIdx.x * static_cast<std::int64_t>(kWarps) + threadIdx.x / 32;
  const std::int64_t row = blockIdx.y;
  if (column >= n) return;
  float sum = 0;
  for (std::int64_t i = threadIdx.x % 32; i < k; i += 32)
    sum = fmaf(__ldcg(x + row * k + i), weights[column * k + i], sum);
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, offset);
  if (threadIdx.x % 32 == 0) y[row * n + column] = sum + (bias != nullptr ? bias[column] : 0.0F);
}

}  // namespace

void plain_matmul(std::int64_t m, std::int64_t n, std::int64_t k, const float* x, const float* weights,
                  const float* bias, float* y, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((n + kWarps - 1) / kWarps), static_cast<unsigned>(m));
  launch(plain_matmul_kernel, grid, kWarps * 32, 0, stream, n, k, x, weights, bias, y);
}

}  // namespace retrosim::kernels::cuda
