#include <algorithm>

#include "kernels/sample/sample.h"

namespace retrosim::kernels::host {

void sample_greedy(std::span<const float> logits, std::span<std::int32_t> tokens) {
  if (tokens.empty()) return;
  const std::size_t vocab = logits.size() / tokens.size();
  for (std::size_t row = 0; row < tokens.size(); ++row) {
    const auto values = logits.subspan(row * vocab, vocab);
    tokens[row] = static_cast<std::int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
  }
}

}  // namespace retrosim::kernels::host
