// What a model predicts after each position of a text.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/checkpoint/llm_weights.h"

namespace retrosim::kernels {

struct NextToken {
  std::int64_t position = 0;
  std::int32_t next_token = 0;  // the text's
  double next_log_prob = 0;     // natural logarithm of the probability given to it
  std::int32_t top1 = 0;        // most probable token
  double top1_log_prob = 0;
};

/// The prediction made from one row of logits. [vocab]
NextToken predict(std::int64_t position, std::int32_t next_token, std::span<const float> logits);

/// Predictions at positions first .. first + count - 1 of a teacher-forced pass with dense attention over `tokens`.
/// Throws InputError unless tokens[first + count] is there, or for tokens that the model does not have.
std::vector<NextToken> next_token_log_probs(const LlmWeights& weights, std::span<const std::int32_t> tokens,
                                            std::int64_t first, std::int64_t count, std::int64_t chunk_tokens,
                                            int num_threads);

/// exp(-mean log-probability of the text's tokens).
double perplexity(std::span<const NextToken> predictions);

}  // namespace retrosim::kernels
