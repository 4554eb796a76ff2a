// Conversions between stored and computed element types.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

namespace retrosim::kernels::cuda {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float to_float(__nv_fp8_e4m3 x) { return static_cast<float>(x); }

template <class T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// Two packed bf16 as float2, by shifts: a bf16 is the upper half of a float.
__device__ inline float2 bf16x2_to_float2(std::uint32_t packed) {
  return {__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000U)};
}

__device__ inline std::uint32_t pack_bf16x2(float low, float high) {
  const __nv_bfloat162 packed = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(packed);
}

__device__ inline std::uint32_t pack_f16x2(float low, float high) {
  const __half2 packed = __floats2half2_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(packed);
}

/// Four e4m3 (least significant first) as two packed f16x2; every e4m3 is an f16 exactly.
__device__ inline void e4m3x4_to_f16x4(std::uint32_t packed, std::uint32_t& low, std::uint32_t& high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  asm("{ .reg .b16 a, b; mov.b32 {a, b}, %2; cvt.rn.f16x2.e4m3x2 %0, a; cvt.rn.f16x2.e4m3x2 %1, b; }"
      : "=r"(low), "=r"(high)
      : "r"(packed));
#else
  // Sign to bit 15, exponent and mantissa to bits 13..7: an f16 with its exponent 8 too small; times 2^8.
  const auto widen = [](std::uint32_t bytes) {  // bytes in bits 15..8 and 31..24
    const std::uint32_t bits = (bytes & 0x80008000U) | ((bytes & 0x7f007f00U) >> 1);
    const __half2 scaled = __hmul2(reinterpret_cast<const __half2&>(bits), __float2half2_rn(256.0F));
    return reinterpret_cast<const std::uint32_t&>(scaled);
  };
  low = widen(__byte_perm(packed, 0, 0x1404));
  high = widen(__byte_perm(packed, 0, 0x3424));
#endif
}

}  // namespace retrosim::kernels::cuda
