#include <cmath>

#include "kernels/silu_mul/silu_mul.h"

namespace retrosim::kernels::host {

void silu_mul(std::int64_t rows, std::int64_t intermediate, std::span<const float> gate_up, std::span<float> out) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t i = 0; i < intermediate; ++i) {
      const double gate = gate_up[row * 2 * intermediate + i];
      const double up = gate_up[(row * 2 + 1) * intermediate + i];
      out[row * intermediate + i] = static_cast<float>(gate / (1.0 + std::exp(-gate)) * up);
    }
  }
}

}  // namespace retrosim::kernels::host
