#include <cmath>

#include "kernels/rms_norm/rms_norm.h"

namespace retrosim::kernels::host {

void rms_norm(std::span<const float> in, std::span<const float> gain, double epsilon, std::span<float> out) {
  const std::size_t hidden = gain.size();
  for (std::size_t first = 0; first < in.size(); first += hidden) {
    double squares = 0;
    for (std::size_t i = 0; i < hidden; ++i) squares += static_cast<double>(in[first + i]) * in[first + i];
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(hidden) + epsilon);
    for (std::size_t i = 0; i < hidden; ++i) out[first + i] = static_cast<float>(in[first + i] * scale * gain[i]);
  }
}

void add_rms_norm(std::span<const float> x, std::span<float> residual, std::span<const float> gain, double epsilon,
                  std::span<float> out) {
  for (std::size_t i = 0; i < residual.size(); ++i) residual[i] += x[i];
  rms_norm(residual, gain, epsilon, out);
}

}  // namespace retrosim::kernels::host
