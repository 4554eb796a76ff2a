#include "kernels/matmul/matmul.h"

namespace retrosim::kernels::host {
namespace {

// Four partial sums, so that additions do not wait for one another.
double dot(const float* a, const float* b, std::int64_t k) {
  double sums[4] = {0, 0, 0, 0};
  std::int64_t i = 0;
  for (; i + 4 <= k; i += 4) {
    for (std::int64_t lane = 0; lane < 4; ++lane) sums[lane] += static_cast<double>(a[i + lane]) * b[i + lane];
  }
  for (; i < k; ++i) sums[0] += static_cast<double>(a[i]) * b[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

void matmul(std::int64_t rows, std::int64_t n, std::int64_t k, std::span<const float> x, std::span<const float> weight,
            std::span<const float> bias, std::span<float> y) {
  for (std::int64_t column = 0; column < n; ++column) {
    const double offset = bias.empty() ? 0.0 : bias[column];
    for (std::int64_t row = 0; row < rows; ++row) {
      y[row * n + column] = static_cast<float>(dot(&x[row * k], &weight[column * k], k) + offset);
    }
  }
}

}  // namespace retrosim::kernels::host
