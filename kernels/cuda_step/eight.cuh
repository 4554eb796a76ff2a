// The 16-byte loads and stores that the elementwise kernels share.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

namespace retrosim::kernels::cuda {

/// Eight consecutive activations in float32.
struct Eight {
  float v[8];
};

__device__ __forceinline__ Eight unpack(const uint4& raw) {
  Eight out;
  const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&raw);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 f = __bfloat1622float2(pairs[i]);
    out.v[2 * i] = f.x;
    out.v[2 * i + 1] = f.y;
  }
  return out;
}

// Loads go to L2 (ld.global.cg): an early started kernel must not meet a line that its SM cached for an older one.
__device__ __forceinline__ Eight load_eight(const __nv_bfloat16* p) {
  return unpack(__ldcg(reinterpret_cast<const uint4*>(p)));
}

__device__ __forceinline__ Eight load_eight(const float* p) {
  const float4 low = __ldcg(reinterpret_cast<const float4*>(p));
  const float4 high = __ldcg(reinterpret_cast<const float4*>(p) + 1);
  return {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
}

/// The sum over `splits` partial results that lie `stride` elements apart, four loads in flight at a time.
template <typename T>
__device__ __forceinline__ Eight load_eight_sum(const T* p, int splits, std::int64_t stride) {
  if (splits == 1) return load_eight(p);
  Eight sum{};
  for (int first = 0; first < splits; first += 4) {
    Eight part[4] = {};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (first + i < splits) part[i] = load_eight(p + (first + i) * stride);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) sum.v[j] += part[i].v[j];
    }
  }
  return sum;
}

__device__ __forceinline__ void store_eight(__nv_bfloat16* p, const Eight& x) {
  uint4 raw;
  auto* pairs = reinterpret_cast<__nv_bfloat162*>(&raw);
#pragma unroll
  for (int i = 0; i < 4; ++i) pairs[i] = __floats2bfloat162_rn(x.v[2 * i], x.v[2 * i + 1]);
  *reinterpret_cast<uint4*>(p) = raw;
}

__device__ __forceinline__ void store_eight(float* p, const Eight& x) {
  reinterpret_cast<float4*>(p)[0] = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
  reinterpret_cast<float4*>(p)[1] = make_float4(x.v[4], x.v[5], x.v[6], x.v[7]);
}

/// The value as it will be read back from storage of type T.
template <typename T>
__device__ __forceinline__ float rounded(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    return __bfloat162float(__float2bfloat16_rn(x));
  }
}

template <typename T>
__device__ __forceinline__ T to(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    return __float2bfloat16_rn(x);
  }
}

__device__ __forceinline__ float as_float(float x) { return x; }
__device__ __forceinline__ float as_float(__nv_bfloat16 x) { return __bfloat162float(x); }

}  // namespace retrosim::kernels::cuda
