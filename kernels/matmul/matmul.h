#pragma once

#include <cstdint>
#include <span>

namespace retrosim::kernels::host {

/// y = x W^T (+ bias), accumulated in double. The weight lies as in a checkpoint, one row per output. Each output row
/// is computed from its own input row in the same order, whatever the number of rows.
void matmul(std::int64_t rows, std::int64_t n, std::int64_t k,
            // [rows, k]
            std::span<const float> x,
            // [n, k]
            std::span<const float> weight,
            // [n], or empty
            std::span<const float> bias,
            // [rows, n]
            std::span<float> y);

}  // namespace retrosim::kernels::host
