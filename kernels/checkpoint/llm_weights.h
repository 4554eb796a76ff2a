// The weights of a dense decoder-only transformer as float32, from a Hugging Face checkpoint folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "model/llm_spec.h"

namespace retrosim {

struct LayerWeights {
  std::vector<float> input_norm;           // [hidden]
  std::vector<float> qkv;                  // [(num_q_heads + 2 num_kv_heads) * head_dim, hidden]: Q, K, V rows
  std::vector<float> qkv_bias;             // [(num_q_heads + 2 num_kv_heads) * head_dim], or empty
  std::vector<float> q_norm;               // [head_dim], or empty
  std::vector<float> k_norm;               // [head_dim], or empty
  std::vector<float> o;                    // [hidden, num_q_heads * head_dim]
  std::vector<float> post_attention_norm;  // [hidden]
  std::vector<float> gate_up;              // [2 * intermediate, hidden]: gate rows, then up rows
  std::vector<float> down;                 // [hidden, intermediate]
};

struct LlmWeights {
  LlmSpec llm;
  std::vector<float> embedding;  // [vocab, hidden]
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;  // [hidden]
  std::vector<float> lm_head;     // [vocab, hidden], or empty when tied to the embedding

  std::span<const float> head() const { return lm_head.empty() ? embedding : lm_head; }
};

/// Reads config.json and model.safetensors (F32, BF16 or F16) of `folder`. Throws InputError naming file and tensor for
/// whatever is missing, damaged or of another shape, and for mixtures of experts.
LlmWeights load_llm_weights(const std::filesystem::path& folder);

}  // namespace retrosim
