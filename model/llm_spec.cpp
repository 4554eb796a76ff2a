#include "model/llm_spec.h"

#include <algorithm>

#include "model/embedded.h"
#include "model/error.h"
#include "model/json_reader.h"
#include "model/kv_format.h"

namespace retrosim {
namespace {

std::int64_t attention_weights(const LlmSpec& llm) {
  const std::int64_t q = std::int64_t{llm.num_q_heads} * llm.head_dim;
  const std::int64_t kv = std::int64_t{llm.num_kv_heads} * llm.head_dim;
  return llm.hidden_size * (2 * q + 2 * kv);  // Q and O, K and V
}

/// Gate, up and down projections.
std::int64_t mlp_weights(std::int64_t hidden, std::int64_t intermediate) { return 3 * hidden * intermediate; }

}  // namespace

std::int64_t LlmSpec::active_params_of_layer(int layer) const {
  std::int64_t params = attention_weights(*this);
  if (layer_is_moe.at(static_cast<std::size_t>(layer)) != 0) {
    params += std::int64_t{hidden_size} * moe.num_experts;  // router
    params += moe.experts_per_token * mlp_weights(hidden_size, moe.intermediate_size);
  } else {
    params += mlp_weights(hidden_size, intermediate_size);
  }
  return params;
}

std::int64_t LlmSpec::num_params() const {
  std::int64_t per_layer = attention_weights(*this) + 2 * std::int64_t{hidden_size};  // two RMSNorm gains
  if (qkv_bias) per_layer += std::int64_t{num_q_heads + 2 * num_kv_heads} * head_dim;
  if (qk_norm) per_layer += 2 * std::int64_t{head_dim};
  const auto moe_layers = static_cast<std::int64_t>(std::ranges::count(layer_is_moe, std::uint8_t{1}));
  const std::int64_t moe_layer = moe.num_experts * (mlp_weights(hidden_size, moe.intermediate_size) + hidden_size);
  const std::int64_t embeddings = std::int64_t{vocab_size} * hidden_size * (tied_embeddings ? 1 : 2);
  return num_layers * per_layer + moe_layers * moe_layer +
         (num_layers - moe_layers) * mlp_weights(hidden_size, intermediate_size) + embeddings + hidden_size;
}

std::int64_t LlmSpec::kv_bytes_per_token(DType kv_dtype) const {
  return kv_bytes(kv_dtype, std::int64_t{num_layers} * num_kv_heads, head_dim);
}

LlmSpec find_llm_spec(std::string_view name_or_path) {
  for (const embedded::File& file : embedded::llm_specs()) {
    if (file.name != name_or_path) continue;
    LlmSpec spec = parse_llm_spec(file.text, "bundled " + std::string(name_or_path));
    spec.name = name_or_path;
    return spec;
  }
  const std::filesystem::path path(name_or_path);
  std::error_code code;
  const bool is_folder = std::filesystem::is_directory(path, code);
  if (!is_folder && !std::filesystem::is_regular_file(path, code)) {
    std::string names;
    for (const std::string& name : bundled_llm_names()) names += (names.empty() ? "" : ", ") + name;
    throw InputError("", "llm", name_or_path, "a config.json, a folder that holds one, or one of: " + names);
  }
  LlmSpec spec = load_llm_spec(is_folder ? path / "config.json" : path);
  spec.name = name_or_path;
  return spec;
}

std::vector<std::string> bundled_llm_names() {
  std::vector<std::string> names;
  for (const embedded::File& file : embedded::llm_specs()) names.emplace_back(file.name);
  std::ranges::sort(names);
  return names;
}

}  // namespace retrosim
