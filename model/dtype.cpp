#include "model/dtype.h"

#include <array>
#include <utility>

#include "model/error.h"

namespace retrosim {

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float32";
    case DType::bf16: return "bfloat16";
    case DType::f16: return "float16";
    case DType::fp8_e4m3: return "fp8";
    case DType::int8: return "int8";
    case DType::int4: return "int4";
    case DType::int2: return "int2";
  }
  return "unknown";
}

DType parse_dtype(std::string_view text, std::string_view field) {
  using enum DType;
  static constexpr std::array<std::pair<std::string_view, DType>, 15> kNames{{{"float32", f32},
                                                                              {"fp32", f32},
                                                                              {"f32", f32},
                                                                              {"float", f32},
                                                                              {"bfloat16", bf16},
                                                                              {"bf16", bf16},
                                                                              {"float16", f16},
                                                                              {"fp16", f16},
                                                                              {"f16", f16},
                                                                              {"half", f16},
                                                                              {"fp8", fp8_e4m3},
                                                                              {"fp8_e4m3", fp8_e4m3},
                                                                              {"int8", int8},
                                                                              {"int4", int4},
                                                                              {"int2", int2}}};
  for (const auto& [name, dtype] : kNames) {
    if (name == text) return dtype;
  }
  throw InputError("", field, text, "one of float32, bfloat16, float16, fp8, int8, int4, int2");
}

}  // namespace retrosim
