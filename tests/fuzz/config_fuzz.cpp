// Any bytes as a config.json: a spec that obeys its own limits, or an InputError.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/error.h"
#include "model/llm_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const retrosim::LlmSpec spec = retrosim::parse_llm_spec(text, "fuzz");
    if (spec.num_params() <= 0 || spec.kv_bytes_per_token(retrosim::DType::bf16) <= 0) std::abort();
    if (spec.num_q_heads % spec.num_kv_heads != 0) std::abort();
    if (spec.layer_is_moe.size() != static_cast<std::size_t>(spec.num_layers)) std::abort();
    if (spec.layer_sliding_window.size() != static_cast<std::size_t>(spec.num_layers)) std::abort();
    for (int layer = 0; layer < spec.num_layers; ++layer) {
      if (spec.active_params_of_layer(layer) <= 0) std::abort();
    }
  } catch (const retrosim::InputError&) {
    // Refused, as it should be.
  }
  return 0;
}
