#include "kernels/rope_append/rope.h"

#include <cmath>
#include <numbers>

namespace retrosim::kernels {

std::vector<double> rope_frequencies(const LlmSpec& llm) {
  std::vector<double> frequencies(static_cast<std::size_t>(llm.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    double frequency = std::pow(llm.rope_theta, -2.0 * static_cast<double>(i) / llm.head_dim);
    if (llm.rope_scaling_factor != 1.0) {
      // Long waves are stretched by the factor, short ones kept, those between blended.
      const double turns = static_cast<double>(llm.rope_original_max_position) * frequency / (2 * std::numbers::pi);
      const double low = llm.rope_low_freq_factor;
      const double high = llm.rope_high_freq_factor;
      const double kept = turns < low ? 0.0 : turns > high ? 1.0 : (turns - low) / (high - low);
      frequency *= kept + (1.0 - kept) / llm.rope_scaling_factor;
    }
    frequencies[i] = frequency;
  }
  return frequencies;
}

RopeTurn::RopeTurn(std::int64_t position, std::span<const double> frequencies) {
  for (const double frequency : frequencies) {
    cosine.push_back(std::cos(static_cast<double>(position) * frequency));
    sine.push_back(std::sin(static_cast<double>(position) * frequency));
  }
}

void RopeTurn::apply(std::span<float> head) const {
  const std::size_t half = cosine.size();
  for (std::size_t i = 0; i < half; ++i) {
    const double first = head[i];
    const double second = head[i + half];
    head[i] = static_cast<float>(first * cosine[i] - second * sine[i]);
    head[i + half] = static_cast<float>(second * cosine[i] + first * sine[i]);
  }
}

}  // namespace retrosim::kernels
