// Root-mean-square normalisation (Zhang & Sennrich, arXiv 1910.07467), with the residual addition before it.
#pragma once

#include <span>

namespace retrosim::kernels::host {

/// out = in / sqrt(mean(in^2) + epsilon) * gain for every row of gain.size() elements. in and out may be the same.
void rms_norm(
    // [rows, hidden]
    std::span<const float> in,
    // [hidden]
    std::span<const float> gain, double epsilon,
    // [rows, hidden]
    std::span<float> out);

/// residual += x, then out = rms_norm(residual).
void add_rms_norm(
    // [rows, hidden]
    std::span<const float> x,
    // [rows, hidden]
    std::span<float> residual,
    // [hidden]
    std::span<const float> gain, double epsilon,
    // [rows, hidden]
    std::span<float> out);

}  // namespace retrosim::kernels::host
