// Element types of weights, activations and caches.
#pragma once

#include <cstdint>
#include <string_view>

namespace retrosim {

enum class DType : std::uint8_t { f32, bf16, f16, fp8_e4m3, int8, int4, int2 };

inline constexpr int kNumDTypes = 7;

/// Bits per stored element.
constexpr int bits_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return 32;
    case DType::bf16:
    case DType::f16: return 16;
    case DType::fp8_e4m3:
    case DType::int8: return 8;
    case DType::int4: return 4;
    case DType::int2: return 2;
  }
  return 0;
}

/// Bytes of `elements` elements, rounded up to whole bytes.
constexpr std::int64_t bytes_of(DType dtype, std::int64_t elements) { return (elements * bits_of(dtype) + 7) / 8; }

/// "float32", "bfloat16", "float16", "fp8", "int8", "int4", "int2".
std::string_view name_of(DType dtype);

/// Accepts the serving engines' spellings (auto is not one: the caller resolves it): float32 fp32 f32 bfloat16 bf16
/// float16 fp16 half fp8 fp8_e4m3 int8 int4 int2. Throws InputError naming `field`.
DType parse_dtype(std::string_view text, std::string_view field);

}  // namespace retrosim
