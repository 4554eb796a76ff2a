// What a decoder-only transformer is made of, as far as the cost of a decoding step depends on it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "model/dtype.h"

namespace retrosim {

/// Mixture of experts of one layer kind; num_experts == 0 means a dense MLP.
struct MoeSpec {
  int num_experts = 0;
  int experts_per_token = 0;
  int intermediate_size = 0;  // of one expert
};

/// Shape and numerics of a model, read from a Hugging Face `config.json`.
struct LlmSpec {
  std::string name;        // as asked for: bundled name or path
  std::string model_type;  // "llama", "qwen2", ...
  int num_layers = 0;
  int hidden_size = 0;
  int intermediate_size = 0;  // of a dense MLP
  int num_q_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int vocab_size = 0;
  std::int64_t max_position = 0;  // longest context, tokens
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool qk_norm = false;  // RMSNorm on each query and key head before RoPE (Qwen3)
  double rms_norm_eps = 1e-5;
  double rope_theta = 1e4;
  // Llama-3 RoPE frequency scaling; factor 1 means none.
  double rope_scaling_factor = 1.0;
  double rope_low_freq_factor = 1.0;
  double rope_high_freq_factor = 4.0;
  std::int64_t rope_original_max_position = 0;
  DType weight_dtype = DType::bf16;
  MoeSpec moe;
  std::vector<std::uint8_t> layer_is_moe;          // [num_layers]
  std::vector<std::int64_t> layer_sliding_window;  // [num_layers], tokens; 0 means full attention

  /// Query heads per KV head (G).
  int query_group() const { return num_q_heads / num_kv_heads; }
  /// Parameters of one layer's linear maps that one token uses (all experts_per_token experts for MoE).
  std::int64_t active_params_of_layer(int layer) const;
  /// All parameters stored, embeddings included (tied ones once).
  std::int64_t num_params() const;
  /// Bytes that one token's keys and values take over all layers.
  std::int64_t kv_bytes_per_token(DType kv_dtype) const;
};

/// Reads a Hugging Face `config.json` (Llama, Mistral, Mixtral, Qwen2/2.5/3, Qwen3-MoE, SmolLM).
/// Throws InputError naming the file and the field for anything malformed or not modelled.
LlmSpec load_llm_spec(const std::filesystem::path& config_json);

/// The same from parsed text; `origin` names it in errors.
LlmSpec parse_llm_spec(std::string_view config_json_text, std::string_view origin);

/// A bundled name (see bundled_llm_names), a config.json, or a folder that holds one. Throws InputError, listing the
/// bundled names.
LlmSpec find_llm_spec(std::string_view name_or_path);

/// Names of the specs compiled into the program, sorted.
std::vector<std::string> bundled_llm_names();

}  // namespace retrosim
