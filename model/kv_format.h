// How keys and values lie in the cache: elements of the cache's type and, for quantised types, their scales.
#pragma once

#include <cstdint>

#include "model/dtype.h"

namespace retrosim {

/// Bytes of scales and zero points that belong to one token's key and value vector of one KV head.
///   int4: a float16 scale and zero point per vector (QServe's KV4, arXiv 2405.04532): 4 bytes for K and 4 for V.
///   int2: a float16 scale and minimum per group of 32 elements (KIVI, arXiv 2402.02750; keys are grouped along tokens
///         and values along channels, which costs the same): 4 d / 32 bytes for K and as much for V.
///   fp8, int8: one scale per tensor, not counted.
/// KIVI's last 128 tokens in float16 are not counted: they add 128 * 2 * (2 - 1/4 - 1/8) d bytes per head at most.
constexpr std::int64_t kv_scale_bytes(DType dtype, std::int64_t head_dim) {
  if (dtype == DType::int4) return 8;
  if (dtype == DType::int2) return 2 * 4 * ((head_dim + 31) / 32);
  return 0;
}

/// Bytes of the keys and values of `vectors` (token, KV head) pairs, scales included.
constexpr std::int64_t kv_bytes(DType dtype, std::int64_t vectors, std::int64_t head_dim) {
  return bytes_of(dtype, 2 * vectors * head_dim) + vectors * kv_scale_bytes(dtype, head_dim);
}

/// Operations on CUDA cores that widen `elements` stored elements before the product: a multiply-add each for integer
/// types; fp8 enters the tensor cores as it is. (No published count of instructions per element was found.)
constexpr double dequantise_flops(DType dtype, std::int64_t elements) {
  const bool integer = dtype == DType::int8 || dtype == DType::int4 || dtype == DType::int2;
  return integer ? 2.0 * static_cast<double>(elements) : 0.0;
}

}  // namespace retrosim
