// Four neighbouring elements of float32 or bf16 as a float4.
#pragma once

#include "kernels/cuda/convert.cuh"

namespace retrosim::kernels::cuda {

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

}  // namespace retrosim::kernels::cuda
