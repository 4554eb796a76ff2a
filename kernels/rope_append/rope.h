// Rotary position embedding in Hugging Face's half-split convention: element i of a head turns together with element
// i + head_dim / 2.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/llm_spec.h"

namespace retrosim::kernels {

/// Angle per position of each pair of elements, radians: theta^(-2i / head_dim), scaled as Llama 3.1 does when
/// llm.rope_scaling_factor is not 1 (transformers, _compute_llama3_parameters). [head_dim / 2]
std::vector<double> rope_frequencies(const LlmSpec& llm);

/// Cosine and sine of position * frequency for each frequency. [head_dim / 2] each
struct RopeTurn {
  RopeTurn(std::int64_t position, std::span<const double> frequencies);

  /// Turns one head of head_dim elements in place: (x1, x2) becomes (x1 cos - x2 sin, x2 cos + x1 sin).
  void apply(std::span<float> head) const;

  std::vector<double> cosine;
  std::vector<double> sine;
};

}  // namespace retrosim::kernels
