#include "model/op.h"

#include <array>

namespace retrosim {

std::string_view name_of(OpKind kind) {
  static constexpr std::array<std::string_view, kNumOpKinds> kNames{
      "embedding", "rms_norm",   "matmul",          "rope_append",       "page_score",
      "top_k",     "attention",  "attention_merge", "prefill_attention", "silu_mul",
      "sample",    "all_reduce", "host_to_device",  "device_to_host",    "host_compute",
      "moe_route", "cache_pass"};
  return kNames.at(static_cast<std::size_t>(kind));
}

Engine Op::engine() const {
  switch (kind()) {
    case OpKind::matmul:
    case OpKind::attention:
    case OpKind::prefill_attention:
    case OpKind::page_score: return Engine::tensor_core;
    case OpKind::host_to_device:
    case OpKind::device_to_host: return Engine::copy;
    case OpKind::host_compute: return Engine::host;
    default: return Engine::cuda_core;
  }
}

}  // namespace retrosim
