// Teacher-forced forward pass of a real model with dense attention, in chunks of tokens, on the CPU in float32.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/checkpoint/llm_weights.h"
#include "kernels/forward/forward_math.h"
#include "kernels/rope_append/rope.h"

namespace retrosim::kernels {

/// Attention of one KV head's query group at `rows` consecutive positions, as computed.
struct AttentionBlock {
  int layer = 0;
  int kv_head = 0;
  std::int64_t first_position = 0;
  std::int64_t rows = 0;
  std::int64_t group = 0;   // query heads
  std::int64_t stride = 0;  // of `weights`
  // [group, rows, head_dim] after RoPE
  const float* q = nullptr;
  // [group, rows, stride] exp(logit - max) of every position, 0 where it is not visible
  const float* weights = nullptr;
  // [group, rows] sum of the weights
  const float* sums = nullptr;
};

class ForwardObserver {
 public:
  virtual ~ForwardObserver() = default;
  /// True when attention() is to be called for this layer in the current chunk.
  virtual bool watches(int layer) const = 0;
  /// The keys of a watched layer are complete up to position first_position + count - 1.
  /// keys: [num_kv_heads, head_stride / head_dim, head_dim] after RoPE.
  virtual void keys_ready(int layer, std::int64_t first_position, std::int64_t count, const float* keys,
                          std::int64_t head_stride) = 0;
  /// Called from several threads at once, for different (kv_head, positions).
  virtual void attention(const AttentionBlock& block) = 0;
};

class DenseForward {
 public:
  /// Keeps a reference to `weights`. Memory: 2 * layers * num_kv_heads * max_tokens * head_dim floats of KV.
  DenseForward(const LlmWeights& weights, std::int64_t max_tokens, int num_threads);

  /// Runs the tokens at positions num_tokens() .. num_tokens() + tokens.size() - 1 and appends them to the KV cache.
  /// Throws InputError for a token outside the vocabulary or more than max_tokens.
  void run(std::span<const std::int32_t> tokens, ForwardObserver* observer = nullptr);

  /// Logits of the last run()'s tokens first .. first + count - 1: [count, vocab].
  std::vector<float> logits(std::int64_t first, std::int64_t count) const;

  std::int64_t num_tokens() const { return num_tokens_; }

  /// Forgets all tokens but the first `tokens`, so that another text can follow them.
  void rewind(std::int64_t tokens) { num_tokens_ = std::min(num_tokens_, tokens); }

  /// One KV head's keys after RoPE, and its values: [max_tokens, head_dim], of which num_tokens() rows are set.
  const float* keys(int layer, std::int64_t head) const { return &keys_[layer][head * max_tokens_ * llm_.head_dim]; }
  const float* values(int layer, std::int64_t head) const {
    return &values_[layer][head * max_tokens_ * llm_.head_dim];
  }

 private:
  void run_layer(int layer, std::int64_t rows, ForwardObserver* observer);
  void append_heads(int layer, std::int64_t row, const float* qkv);
  void attend(int layer, std::int64_t rows, ForwardObserver* observer);
  void attend_block(int layer, std::int64_t kv_head, std::int64_t first_row, std::int64_t rows,
                    ForwardObserver* observer);
  // out[rows, n] = in[rows, k] weight[n, k]^T, split over the threads by columns.
  void linear(std::int64_t rows, std::int64_t k, std::span<const float> weight, const std::vector<float>& in,
              std::vector<float>& out) const;

  const LlmWeights& weights_;
  const LlmSpec& llm_;
  const ForwardMath& math_;
  std::int64_t max_tokens_;
  int num_threads_;
  std::int64_t num_tokens_ = 0;
  std::vector<double> frequencies_;
  // Per layer: [num_kv_heads, max_tokens, head_dim]
  std::vector<std::vector<float>> keys_;
  std::vector<std::vector<float>> values_;
  // Of the chunk, [rows, ...]
  std::vector<RopeTurn> turns_;
  std::vector<float> hidden_;
  std::vector<float> normed_;
  std::vector<float> qkv_;
  std::vector<float> attention_;
  std::vector<float> gate_up_;
  std::vector<float> product_;
};

}  // namespace retrosim::kernels
