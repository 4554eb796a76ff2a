#include <algorithm>
#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/cuda_step/eight.cuh"
#include "kernels/rms_norm/rms_norm_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMaxVectors = 2;  // of eight elements per thread: hidden sizes up to 16384

template <typename T, typename In, int kVectors>
__global__ void __launch_bounds__(kMaxThreads) add_rms_norm_kernel(const AddRmsNormArgs a) {
  const std::int64_t b = blockIdx.x / a.window_out;
  const int s = static_cast<int>(blockIdx.x % a.window_out);
  const auto hidden = a.hidden_size;
  const auto* gain = static_cast<const T*>(a.gain);
  allow_next_kernel();
  Eight weight[kVectors];
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const std::int64_t column = (i * static_cast<std::int64_t>(blockDim.x) + threadIdx.x) * 8;
    if (column < hidden) weight[i] = load_eight(gain + column);
  }
  wait_for_previous_kernel();

  const bool from_cache = a.hidden_cache != nullptr && s > 0;
  const T* residual = static_cast<const T*>(a.residual_in) + (b * a.window_in + s) * hidden;
  const In* x = static_cast<const In*>(a.x.data) + (b * a.window_in + s) * hidden;
  T* cache = nullptr;
  if (a.hidden_cache != nullptr) {
    const std::int64_t position = a.context_lens[b] - 1 - s;
    const std::int64_t slot = ((position % a.window_out) + a.window_out) % a.window_out;
    cache = static_cast<T*>(a.hidden_cache) + (slot * (gridDim.x / a.window_out) + b) * hidden;
  }
  Eight value[kVectors];
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const std::int64_t column = (i * static_cast<std::int64_t>(blockDim.x) + threadIdx.x) * 8;
    if (column >= hidden) continue;
    if (from_cache) {
      value[i] = load_eight(cache + column);
    } else {
      value[i] = load_eight(residual + column);
      if (a.x.data != nullptr) {
        const Eight add = load_eight_sum(x + column, a.x.splits, a.x.split_stride);
#pragma unroll
        for (int j = 0; j < 8; ++j) value[i].v[j] = rounded<T>(value[i].v[j] + add.v[j]);
      }
    }
#pragma unroll
    for (int j = 0; j < 8; ++j) squares += value[i].v[j] * value[i].v[j];
  }
  __shared__ float sums[32];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) squares += __shfl_xor_sync(0xffffffffU, squares, offset);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
  __syncthreads();
  float total = threadIdx.x % 32 < blockDim.x / 32 ? sums[threadIdx.x % 32] : 0.0F;
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) total += __shfl_xor_sync(0xffffffffU, total, offset);
  const float scale = rsqrtf(total / static_cast<float>(hidden) + a.eps);
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const std::int64_t column = (i * static_cast<std::int64_t>(blockDim.x) + threadIdx.x) * 8;
    if (column >= hidden) continue;
    if (a.residual_out != nullptr) {
      store_eight(static_cast<T*>(a.residual_out) + blockIdx.x * hidden + column, value[i]);
    }
    if (cache != nullptr && s == 0) store_eight(cache + column, value[i]);
#pragma unroll
    for (int j = 0; j < 8; ++j) value[i].v[j] *= scale * weight[i].v[j];
    store_eight(static_cast<T*>(a.y) + blockIdx.x * hidden + column, value[i]);
  }
}

template <typename T, typename In>
void launch_typed(const AddRmsNormArgs& a, cudaStream_t stream) {
  const std::int64_t vectors = a.hidden_size / 8;
  const auto blocks = static_cast<unsigned>(a.batch * a.window_out);
  const auto threads = static_cast<unsigned>(std::min<std::int64_t>(kMaxThreads, (vectors + 31) / 32 * 32));
  if (vectors <= kMaxThreads) {
    cuda::launch(add_rms_norm_kernel<T, In, 1>, blocks, threads, 0, stream, a);
  } else {
    cuda::launch(add_rms_norm_kernel<T, In, kMaxVectors>, blocks, threads, 0, stream, a);
  }
}

}  // namespace

void add_rms_norm(const AddRmsNormArgs& a, cudaStream_t stream) {
  if (a.hidden_size < 8 || a.hidden_size % 8 != 0 || a.hidden_size > kMaxThreads * kMaxVectors * 8) {
    throw InputError("", "hidden_size", std::to_string(a.hidden_size), "a multiple of 8, at most 16384");
  }
  if (a.dtype == DType::f32) {
    launch_typed<float, float>(a, stream);
  } else if (a.x.dtype == DType::f32) {
    launch_typed<__nv_bfloat16, float>(a, stream);
  } else {
    launch_typed<__nv_bfloat16, __nv_bfloat16>(a, stream);
  }
}

}  // namespace retrosim::kernels::cuda
