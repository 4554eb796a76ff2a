#pragma once

#include <cstdint>
#include <span>

namespace retrosim::kernels::host {

/// Greedy choice: the token of the largest logit, the lowest id among equals.
void sample_greedy(
    // [rows, vocab]
    std::span<const float> logits,
    // [rows]
    std::span<std::int32_t> tokens);

}  // namespace retrosim::kernels::host
