#include "kernels/forward/next_token.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/forward/dense_forward.h"
#include "model/error.h"

namespace retrosim::kernels {

NextToken predict(std::int64_t position, std::int32_t next_token, std::span<const float> logits) {
  const auto best = std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - *best);
  const double top1_log_prob = -std::log(sum);
  return {.position = position,
          .next_token = next_token,
          .next_log_prob = static_cast<double>(logits[next_token]) - *best + top1_log_prob,
          .top1 = static_cast<std::int32_t>(best - logits.begin()),
          .top1_log_prob = top1_log_prob};
}

std::vector<NextToken> next_token_log_probs(const LlmWeights& weights, std::span<const std::int32_t> tokens,
                                            std::int64_t first, std::int64_t count, std::int64_t chunk_tokens,
                                            int num_threads) {
  const std::int64_t end = first + count;
  if (first < 0 || count < 1 || end >= static_cast<std::int64_t>(tokens.size())) {
    throw InputError("", "positions", std::to_string(first) + " to " + std::to_string(end - 1),
                     "positions that have a next token among the " + std::to_string(tokens.size()));
  }
  if (tokens[end] < 0 || tokens[end] >= weights.llm.vocab_size) {
    throw InputError("", "tokens", std::to_string(tokens[end]), "a token id of the vocabulary");
  }
  DenseForward forward(weights, end, num_threads);
  std::vector<NextToken> predictions;
  for (std::int64_t position = 0; position < end;) {
    const std::int64_t rows = std::min(chunk_tokens, end - position);
    forward.run(tokens.subspan(position, rows));
    const std::int64_t from = std::max(position, first);
    if (from < position + rows) {
      const std::int64_t vocab = weights.llm.vocab_size;
      const std::vector<float> logits = forward.logits(from - position, position + rows - from);
      for (std::int64_t p = from; p < position + rows; ++p) {
        predictions.push_back(predict(p, tokens[p + 1], std::span(logits).subspan((p - from) * vocab, vocab)));
      }
    }
    position += rows;
  }
  return predictions;
}

double perplexity(std::span<const NextToken> predictions) {
  double sum = 0;
  for (const NextToken& prediction : predictions) sum += prediction.next_log_prob;
  return std::exp(-sum / static_cast<double>(predictions.size()));
}

}  // namespace retrosim::kernels
