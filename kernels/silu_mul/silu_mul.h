#pragma once

#include <cstdint>
#include <span>

namespace retrosim::kernels::host {

/// out = silu(gate) * up with silu(x) = x / (1 + exp(-x)).
void silu_mul(std::int64_t rows, std::int64_t intermediate,
              // [rows, 2 (gate, up), intermediate]
              std::span<const float> gate_up,
              // [rows, intermediate]
              std::span<float> out);

}  // namespace retrosim::kernels::host
