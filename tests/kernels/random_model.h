// Small random models, in memory and as checkpoint folders.
#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "kernels/checkpoint/llm_weights.h"

namespace retrosim::kernels {

struct RandomModelSizes {
  int num_layers = 4;
  int num_q_heads = 4;
  int num_kv_heads = 2;
  int head_dim = 8;
  int intermediate_size = 24;
  int vocab_size = 50;
  bool qkv_bias = false;
  bool qk_norm = false;
};

inline std::vector<float> random_weights(std::int64_t count, double deviation, double mean, std::mt19937& random) {
  std::normal_distribution<double> normal(mean, deviation);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(normal(random));
  return values;
}

/// Weights large enough that attention is far from uniform and the layers depend on each other.
inline LlmWeights random_model(const RandomModelSizes& sizes, unsigned seed) {
  std::mt19937 random(seed);
  const std::int64_t hidden = sizes.num_q_heads * sizes.head_dim;
  LlmWeights weights;
  LlmSpec& llm = weights.llm;
  llm.name = "random";
  llm.model_type = sizes.qk_norm ? "qwen3" : "llama";
  llm.num_layers = sizes.num_layers;
  llm.hidden_size = static_cast<int>(hidden);
  llm.intermediate_size = sizes.intermediate_size;
  llm.num_q_heads = sizes.num_q_heads;
  llm.num_kv_heads = sizes.num_kv_heads;
  llm.head_dim = sizes.head_dim;
  llm.vocab_size = sizes.vocab_size;
  llm.max_position = 4096;
  llm.tied_embeddings = true;
  llm.qkv_bias = sizes.qkv_bias;
  llm.qk_norm = sizes.qk_norm;
  llm.layer_is_moe.assign(sizes.num_layers, 0);
  llm.layer_sliding_window.assign(sizes.num_layers, 0);
  weights.embedding = random_weights(sizes.vocab_size * hidden, 1.0, 0.0, random);
  const double scale = 1.5 / std::sqrt(static_cast<double>(hidden));
  const std::int64_t qkv = (sizes.num_q_heads + 2 * sizes.num_kv_heads) * sizes.head_dim;
  for (int layer = 0; layer < sizes.num_layers; ++layer) {
    LayerWeights& to = weights.layers.emplace_back();
    to.input_norm = random_weights(hidden, 0.1, 1.0, random);
    to.qkv = random_weights(qkv * hidden, scale, 0.0, random);
    if (sizes.qkv_bias) to.qkv_bias = random_weights(qkv, 0.3, 0.0, random);
    if (sizes.qk_norm) {
      to.q_norm = random_weights(sizes.head_dim, 0.1, 1.5, random);
      to.k_norm = random_weights(sizes.head_dim, 0.1, 1.5, random);
    }
    to.o = random_weights(hidden * hidden, scale, 0.0, random);
    to.post_attention_norm = random_weights(hidden, 0.1, 1.0, random);
    to.gate_up = random_weights(2 * sizes.intermediate_size * hidden, scale, 0.0, random);
    to.down = random_weights(hidden * sizes.intermediate_size, scale, 0.0, random);
  }
  weights.final_norm = random_weights(hidden, 0.1, 1.0, random);
  return weights;
}

/// Gathers tensors and writes them as one float32 safetensors file.
class SafetensorsFile {
 public:
  void add(const std::string& name, std::vector<std::int64_t> shape, const float* values) {
    std::size_t bytes = sizeof(float);
    for (const std::int64_t size : shape) bytes *= static_cast<std::size_t>(size);
    header_[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {data_.size(), data_.size() + bytes}}};
    data_.append(reinterpret_cast<const char*>(values), bytes);
  }
  std::string text() const {
    const std::string header = header_.dump();
    const std::uint64_t length = header.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data_;
  }

 private:
  nlohmann::json header_ = nlohmann::json::object();
  std::string data_;
};

/// Writes config.json and model.safetensors of a model without biases or query and key norms.
inline void write_checkpoint(const LlmWeights& weights, const std::filesystem::path& folder) {
  const LlmSpec& llm = weights.llm;
  std::filesystem::create_directories(folder);
  const nlohmann::json config{{"architectures", {"LlamaForCausalLM"}},
                              {"model_type", "llama"},
                              {"hidden_act", "silu"},
                              {"hidden_size", llm.hidden_size},
                              {"intermediate_size", llm.intermediate_size},
                              {"num_hidden_layers", llm.num_layers},
                              {"num_attention_heads", llm.num_q_heads},
                              {"num_key_value_heads", llm.num_kv_heads},
                              {"head_dim", llm.head_dim},
                              {"vocab_size", llm.vocab_size},
                              {"max_position_embeddings", llm.max_position},
                              {"rms_norm_eps", llm.rms_norm_eps},
                              {"rope_theta", llm.rope_theta},
                              {"tie_word_embeddings", true},
                              {"torch_dtype", "float32"}};
  std::ofstream(folder / "config.json") << config.dump();
  SafetensorsFile file;
  const std::int64_t hidden = llm.hidden_size;
  const std::int64_t q = llm.num_q_heads * llm.head_dim;
  const std::int64_t kv = llm.num_kv_heads * llm.head_dim;
  const std::int64_t intermediate = llm.intermediate_size;
  file.add("model.embed_tokens.weight", {llm.vocab_size, hidden}, weights.embedding.data());
  file.add("model.norm.weight", {hidden}, weights.final_norm.data());
  for (int layer = 0; layer < llm.num_layers; ++layer) {
    const LayerWeights& from = weights.layers[layer];
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    file.add(prefix + "input_layernorm.weight", {hidden}, from.input_norm.data());
    file.add(prefix + "self_attn.q_proj.weight", {q, hidden}, from.qkv.data());
    file.add(prefix + "self_attn.k_proj.weight", {kv, hidden}, from.qkv.data() + q * hidden);
    file.add(prefix + "self_attn.v_proj.weight", {kv, hidden}, from.qkv.data() + (q + kv) * hidden);
    file.add(prefix + "self_attn.o_proj.weight", {hidden, q}, from.o.data());
    file.add(prefix + "post_attention_layernorm.weight", {hidden}, from.post_attention_norm.data());
    file.add(prefix + "mlp.gate_proj.weight", {intermediate, hidden}, from.gate_up.data());
    file.add(prefix + "mlp.up_proj.weight", {intermediate, hidden}, from.gate_up.data() + intermediate * hidden);
    file.add(prefix + "mlp.down_proj.weight", {hidden, intermediate}, from.down.data());
  }
  std::ofstream(folder / "model.safetensors", std::ios::binary) << file.text();
}

inline std::vector<std::int32_t> random_tokens(std::int64_t count, int vocab, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<std::int32_t> any(0, vocab - 1);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
  for (std::int32_t& token : tokens) token = any(random);
  return tokens;
}

}  // namespace retrosim::kernels
