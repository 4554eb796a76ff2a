#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/cuda_step/eight.cuh"
#include "kernels/silu_mul/silu_mul_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

// Small blocks, so that they spread over many SMs and leave room for the next product's blocks.
constexpr int kThreads = 64;

template <typename T, typename In>
__global__ void __launch_bounds__(kThreads) silu_mul_kernel(const SiluMulArgs a) {
  allow_next_kernel();
  wait_for_previous_kernel();
  const std::int64_t column = (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x) * 8;
  if (column >= a.intermediate_size) return;
  const In* in = static_cast<const In*>(a.gate_up.data) + blockIdx.y * 2 * a.intermediate_size + column;
  Eight gate = load_eight_sum(in, a.gate_up.splits, a.gate_up.split_stride);
  const Eight up = load_eight_sum(in + a.intermediate_size, a.gate_up.splits, a.gate_up.split_stride);
#pragma unroll
  for (int i = 0; i < 8; ++i) gate.v[i] = gate.v[i] / (1.0F + __expf(-gate.v[i])) * up.v[i];
  store_eight(static_cast<T*>(a.y) + blockIdx.y * a.intermediate_size + column, gate);
}

template <typename T, typename In>
void launch_typed(const SiluMulArgs& a, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((a.intermediate_size / 8 + kThreads - 1) / kThreads);
  cuda::launch(silu_mul_kernel<T, In>, dim3(blocks, static_cast<unsigned>(a.rows)), kThreads, 0, stream, a);
}

}  // namespace

void silu_mul(const SiluMulArgs& a, cudaStream_t stream) {
  if (a.intermediate_size < 8 || a.intermediate_size % 8 != 0) {
    throw InputError("", "intermediate_size", std::to_string(a.intermediate_size), "a positive multiple of 8");
  }
  if (a.dtype == DType::f32) {
    launch_typed<float, float>(a, stream);
  } else if (a.gate_up.dtype == DType::f32) {
    launch_typed<__nv_bfloat16, float>(a, stream);
  } else {
    launch_typed<__nv_bfloat16, __nv_bfloat16>(a, stream);
  }
}

}  // namespace retrosim::kernels::cuda
