#include "kernels/cuda/check.h"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda_step/random_fill.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

// splitmix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators") of the element's index.
__device__ __forceinline__ std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

template <typename T>
__global__ void fill(T* data, std::int64_t count, float amplitude, std::uint64_t seed) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x; i < count; i += stride) {
    const auto bits =
        static_cast<std::uint32_t>(mixed(seed * 0xd1342543de82ef95ULL + static_cast<std::uint64_t>(i)) >> 40);
    const float value = (static_cast<float>(bits) * 0x1p-23F - 1.0F) * amplitude;
    if constexpr (std::is_same_v<T, __nv_fp8_e4m3>) {
      data[i] = __nv_fp8_e4m3(value);
    } else {
      data[i] = from_float<T>(value);
    }
  }
}

}  // namespace

void fill_random(void* data, DType dtype, std::int64_t count, float amplitude, std::uint64_t seed,
                 cudaStream_t stream) {
  constexpr int kBlocks = 1056;
  constexpr int kThreads = 256;
  switch (dtype) {
    case DType::f32: fill<<<kBlocks, kThreads, 0, stream>>>(static_cast<float*>(data), count, amplitude, seed); break;
    case DType::bf16:
      fill<<<kBlocks, kThreads, 0, stream>>>(static_cast<__nv_bfloat16*>(data), count, amplitude, seed);
      break;
    case DType::fp8_e4m3:
      fill<<<kBlocks, kThreads, 0, stream>>>(static_cast<__nv_fp8_e4m3*>(data), count, amplitude, seed);
      break;
    default: throw InputError("", "dtype", name_of(dtype), "float32, bfloat16 or fp8");
  }
  RETROSIM_CUDA_CHECK(cudaGetLastError());
}

}  // namespace retrosim::kernels::cuda
