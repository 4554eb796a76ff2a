// A model small enough to count by hand.
#pragma once

#include "model/decode_config.h"

namespace retrosim::testing {

/// 4 layers, hidden 64, MLP 128, 8 query heads over 2 KV heads of 8, vocabulary 100, up to 4,096 tokens.
inline LlmSpec tiny_llm() {
  LlmSpec llm;
  llm.name = "tiny";
  llm.model_type = "llama";
  llm.num_layers = 4;
  llm.hidden_size = 64;
  llm.intermediate_size = 128;
  llm.num_q_heads = 8;
  llm.num_kv_heads = 2;
  llm.head_dim = 8;
  llm.vocab_size = 100;
  llm.max_position = 4096;
  llm.layer_is_moe.assign(4, 0);
  llm.layer_sliding_window.assign(4, 0);
  return llm;
}

/// `policy` on tiny_llm() at 1,000 tokens in pages of 16 (63 pages, 8 tokens on the last), batch 3.
inline DecodeConfig tiny_config(std::string_view policy, int window = 1, double budget = 0.25) {
  DecodeConfig config;
  config.llm = tiny_llm();
  config.policy = make_policy(policy, {.budget = budget});
  config.window = window;
  config.batch = 3;
  config.context = 1000;
  config.dense_layers = 1;
  return config;
}

}  // namespace retrosim::testing
