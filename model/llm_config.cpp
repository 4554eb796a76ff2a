// Hugging Face `config.json` to LlmSpec. Defaults of absent keys are those of the `transformers` configuration classes.
//
// Three classes of keys: those read here; those known not to change what a decoding step computes or costs (kHarmless);
// the rest. Of the rest, a key whose name speaks of architecture (kArchitecture) is refused unless its value is neutral
// (null, false, 0 or an empty container): a spec that silently dropped it would describe another model.
#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "model/error.h"
#include "model/json_reader.h"
#include "model/llm_spec.h"

namespace retrosim {
namespace {

constexpr std::int64_t kMaxLayers = 4096;
constexpr std::int64_t kMaxHeads = 4096;
constexpr std::int64_t kMaxHeadDim = 4096;
constexpr std::int64_t kMaxHidden = 1 << 20;
constexpr std::int64_t kMaxIntermediate = 1 << 22;
constexpr std::int64_t kMaxVocab = 1 << 24;
constexpr std::int64_t kMaxPosition = std::int64_t{1} << 32;
constexpr std::int64_t kMaxExperts = 1 << 14;
constexpr double kMaxParams = 1e15;

constexpr std::array<std::string_view, 11> kHarmless{
    "attention_dropout", "attn_implementation", "_attn_implementation", "_attn_implementation_autoset",
    "layer_norm_eps",    "norm_topk_prob",      "router_aux_loss_coef", "router_jitter_noise",
    "output_attentions", "is_llama_config",     "pretraining_tp"};

constexpr std::array<std::string_view, 34> kArchitecture{
    "expert",      "moe",   "lora",  "softcap",  "soft_cap",  "window", "rope",    "rotary",  "multiplier",
    "attention",   "attn",  "layer", "cross",    "vision",    "audio",  "ssm",     "mamba",   "conv",
    "alibi",       "norm",  "bias",  "scaling",  "scale",     "sink",   "chunk",   "encoder", "quant",
    "text_config", "nextn", "clip_", "parallel", "recurrent", "sparse", "compress"};

enum class Family { llama, mistral, mixtral, qwen2, qwen3, qwen3_moe };

Family family_of(const JsonReader& config) {
  const std::string type = config.string("model_type");
  if (type == "llama") return Family::llama;
  if (type == "mistral") return Family::mistral;
  if (type == "mixtral") return Family::mixtral;
  if (type == "qwen2") return Family::qwen2;
  if (type == "qwen3") return Family::qwen3;
  if (type == "qwen3_moe") return Family::qwen3_moe;
  config.fail("model_type", "one of llama, mistral, mixtral, qwen2, qwen3, qwen3_moe");
}

int read_int(const JsonReader& config, std::string_view key, std::int64_t max) {
  return static_cast<int>(config.integer(key, 1, max));
}

void read_heads(const JsonReader& config, Family family, LlmSpec& llm) {
  llm.num_q_heads = read_int(config, "num_attention_heads", kMaxHeads);
  if (family == Family::llama && !config.has("num_key_value_heads")) {
    llm.num_kv_heads = llm.num_q_heads;  // LlamaConfig's default
  } else {
    llm.num_kv_heads = read_int(config, "num_key_value_heads", kMaxHeads);
  }
  if (llm.num_q_heads % llm.num_kv_heads != 0) {
    config.fail("num_key_value_heads", "a divisor of num_attention_heads (" + std::to_string(llm.num_q_heads) + ")");
  }
  if (config.has("head_dim")) {
    llm.head_dim = read_int(config, "head_dim", kMaxHeadDim);
  } else if (family == Family::qwen3 || family == Family::qwen3_moe) {
    llm.head_dim = 128;  // Qwen3Config's default
  } else if (llm.hidden_size % llm.num_q_heads != 0) {
    config.fail("num_attention_heads", "a divisor of hidden_size (" + std::to_string(llm.hidden_size) + ")");
  } else {
    llm.head_dim = llm.hidden_size / llm.num_q_heads;
  }
  if (llm.head_dim % 2 != 0 || llm.head_dim > kMaxHeadDim) {
    config.fail("head_dim", "an even head size of at most " + std::to_string(kMaxHeadDim) +
                                " (RoPE turns pairs), here " + std::to_string(llm.head_dim));
  }
}

/// The parameters of one RoPE description: `rope_scaling` of older configs, `rope_parameters` of newer ones.
void read_rope_type(const JsonReader& rope, LlmSpec& llm) {
  const std::string type = rope.string_or("rope_type", rope.string_or("type", "default"));
  rope.ignore("type");
  if (type == "llama3") {
    llm.rope_scaling_factor = rope.number("factor", 1.0, 1e6);
    llm.rope_low_freq_factor = rope.number("low_freq_factor", 1e-3, 1e6);
    llm.rope_high_freq_factor = rope.number("high_freq_factor", 1e-3, 1e6);
    llm.rope_original_max_position = rope.integer("original_max_position_embeddings", 1, kMaxPosition);
    if (!(llm.rope_high_freq_factor > llm.rope_low_freq_factor))
      rope.fail("high_freq_factor", "more than low_freq_factor");
  } else if (type != "default") {
    rope.fail(rope.has("rope_type") ? "rope_type" : "type", "default or llama3 (others are not modelled)");
  }
  if (rope.number_or("partial_rotary_factor", 1.0) != 1.0) rope.fail("partial_rotary_factor", "1");
  rope.finish();
}

void read_rope(const JsonReader& config, Family family, LlmSpec& llm) {
  const double fallback = family == Family::mixtral ? 1e6 : 1e4;
  llm.rope_theta = config.number_or("rope_theta", fallback, 1.0, 1e12);
  llm.rope_original_max_position = llm.max_position;
  if (config.has("rope_parameters")) {
    const JsonReader rope = config.object("rope_parameters");
    llm.rope_theta = rope.number_or("rope_theta", llm.rope_theta, 1.0, 1e12);
    read_rope_type(rope, llm);
    if (config.has("rope_scaling")) config.fail("rope_scaling", "nothing beside rope_parameters");
  } else if (config.has("rope_scaling")) {
    read_rope_type(config.object("rope_scaling"), llm);
  }
}

void read_moe(const JsonReader& config, Family family, LlmSpec& llm) {
  llm.layer_is_moe.assign(static_cast<std::size_t>(llm.num_layers), 0);
  if (family != Family::mixtral && family != Family::qwen3_moe) return;
  const bool mixtral = family == Family::mixtral;
  const std::string_view experts = !mixtral && config.has("num_experts") ? "num_experts" : "num_local_experts";
  llm.moe.num_experts = read_int(config, experts, kMaxExperts);
  llm.moe.experts_per_token = read_int(config, "num_experts_per_tok", llm.moe.num_experts);
  llm.moe.intermediate_size =
      mixtral ? llm.intermediate_size : read_int(config, "moe_intermediate_size", kMaxIntermediate);
  const std::int64_t step = mixtral ? 1 : config.integer_or("decoder_sparse_step", 1, 1, kMaxLayers);
  std::vector<std::int64_t> dense;
  if (!mixtral && config.has("mlp_only_layers")) dense = config.integers("mlp_only_layers", 0, llm.num_layers - 1);
  for (std::int64_t layer = 0; layer < llm.num_layers; ++layer) {
    const bool is_moe = (layer + 1) % step == 0 && std::ranges::find(dense, layer) == dense.end();
    llm.layer_is_moe[static_cast<std::size_t>(layer)] = is_moe ? 1 : 0;
  }
}

/// Window of the layers that slide, 0 for none; `mistral` windows every layer, Qwen those from max_window_layers on.
void read_sliding_window(const JsonReader& config, const nlohmann::json& json, Family family, LlmSpec& llm) {
  const auto layers = static_cast<std::size_t>(llm.num_layers);
  llm.layer_sliding_window.assign(layers, 0);
  std::int64_t window = config.integer_or("sliding_window", 0, 1, kMaxPosition);
  if (family == Family::mistral && !json.contains("sliding_window")) window = 4096;  // MistralConfig's default
  const bool qwen = family == Family::qwen2 || family == Family::qwen3 || family == Family::qwen3_moe;
  const bool in_use = qwen ? config.boolean_or("use_sliding_window", false) : window > 0;
  const std::int64_t first = config.integer_or("max_window_layers", 0, 0, kMaxLayers);
  if (config.has("layer_types")) {
    const nlohmann::json& types = config.raw("layer_types");
    if (!types.is_array() || types.size() != layers) {
      config.fail("layer_types", "an array of num_hidden_layers (" + std::to_string(layers) + ") strings");
    }
    for (std::size_t layer = 0; layer < layers; ++layer) {
      if (types[layer] == "full_attention") continue;
      if (types[layer] != "sliding_attention") config.fail("layer_types", "full_attention or sliding_attention");
      if (window == 0) config.fail("sliding_window", "a window for the sliding_attention layers of layer_types");
      llm.layer_sliding_window[layer] = window;
    }
    return;
  }
  if (!in_use) return;
  if (family == Family::llama) config.fail("sliding_window", "null: llama attends to everything");
  if (window == 0) config.fail("sliding_window", "a window, as use_sliding_window is true");
  for (auto layer = static_cast<std::size_t>(qwen ? first : 0); layer < layers; ++layer) {
    llm.layer_sliding_window[layer] = window;
  }
}

bool is_neutral(const nlohmann::json& value) {
  if (value.is_null()) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0;
  return (value.is_array() || value.is_object() || value.is_string()) && value.empty();
}

void refuse_other_architecture(const JsonReader& config, const nlohmann::json& json) {
  for (const std::string& key : config.keys()) {
    if (config.is_known(key) || std::ranges::find(kHarmless, key) != kHarmless.end()) continue;
    const auto mentions = [&](std::string_view fragment) { return key.find(fragment) != std::string::npos; };
    if (std::ranges::any_of(kArchitecture, mentions) && !is_neutral(json[key])) {
      config.fail(key, "no such field: it changes the architecture in a way that is not modelled");
    }
  }
}

/// Fields that must have one value, because others are not modelled.
void refuse_variants(const JsonReader& config) {
  if (config.string_or("hidden_act", "silu") != "silu") config.fail("hidden_act", "silu");
  if (config.has("quantization_config"))
    config.fail("quantization_config", "null: give the unquantised checkpoint's config");
  for (const std::string_view key : {"attention_bias", "mlp_bias", "is_encoder_decoder", "add_cross_attention"}) {
    if (config.boolean_or(key, false)) config.fail(key, "false");
  }
  if (config.number_or("partial_rotary_factor", 1.0) != 1.0) config.fail("partial_rotary_factor", "1");
}

DType read_weight_dtype(const JsonReader& config) {
  // Older transformers write torch_dtype, newer ones dtype; without either the engines serve 16 bits.
  const std::string_view key = config.has("torch_dtype") ? "torch_dtype" : "dtype";
  const std::string text = config.string_or(key, "bfloat16");
  if (text == "float32") return DType::f32;
  if (text == "bfloat16") return DType::bf16;
  if (text == "float16") return DType::f16;
  config.fail(key, "float32, bfloat16 or float16");
}

/// Before any integer arithmetic on sizes: products of in-range fields can exceed 64 bits.
void refuse_absurd_size(const LlmSpec& llm, const std::string& origin) {
  const double hidden = llm.hidden_size;
  const double heads = hidden * llm.head_dim * (2.0 * llm.num_q_heads + 2.0 * llm.num_kv_heads);
  const double mlp = 3.0 * hidden *
                     std::max(static_cast<double>(llm.intermediate_size),
                              static_cast<double>(llm.moe.num_experts) * (llm.moe.intermediate_size + 1.0));
  const double params = llm.num_layers * (heads + mlp) + 2.0 * hidden * llm.vocab_size;
  if (!(params <= kMaxParams)) {
    throw InputError(origin, "hidden_size", std::to_string(llm.hidden_size),
                     "sizes of a model of at most 1e15 parameters");
  }
}

LlmSpec spec_from(const nlohmann::json& json, const std::string& origin) {
  const JsonReader config(json, origin);
  LlmSpec llm;
  llm.name = origin;
  const Family family = family_of(config);
  llm.model_type = config.string("model_type");
  refuse_variants(config);
  llm.num_layers = read_int(config, "num_hidden_layers", kMaxLayers);
  llm.hidden_size = read_int(config, "hidden_size", kMaxHidden);
  llm.intermediate_size = read_int(config, "intermediate_size", kMaxIntermediate);
  llm.vocab_size = read_int(config, "vocab_size", kMaxVocab);
  llm.max_position = config.integer("max_position_embeddings", 1, kMaxPosition);
  read_heads(config, family, llm);
  read_rope(config, family, llm);
  read_moe(config, family, llm);
  read_sliding_window(config, json, family, llm);
  llm.tied_embeddings = config.boolean_or("tie_word_embeddings", false);
  llm.qkv_bias = family == Family::qwen2;
  llm.qk_norm = family == Family::qwen3 || family == Family::qwen3_moe;
  llm.rms_norm_eps = config.number_or("rms_norm_eps", family == Family::mixtral ? 1e-5 : 1e-6, 1e-12, 1.0);
  llm.weight_dtype = read_weight_dtype(config);
  refuse_other_architecture(config, json);
  refuse_absurd_size(llm, origin);
  return llm;
}

}  // namespace

LlmSpec parse_llm_spec(std::string_view config_json_text, std::string_view origin) {
  return spec_from(parse_json(config_json_text, origin), std::string(origin));
}

LlmSpec load_llm_spec(const std::filesystem::path& config_json) {
  return spec_from(read_json_file(config_json), config_json.string());
}

}  // namespace retrosim
