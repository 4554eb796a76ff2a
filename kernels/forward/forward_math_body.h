// Bodies of ForwardMath's functions. Each including file compiles them for another CPU, so each one must rename Eigen's
// namespace (FORWARD_MATH_EIGEN) first: otherwise the linker would keep one file's copy of a shared template for both.
// NOLINTBEGIN(misc-definitions-in-headers)
#if !defined(FORWARD_MATH_EIGEN)
#error "define FORWARD_MATH_EIGEN, the name that Eigen's namespace takes in this file"
#endif
#define Eigen FORWARD_MATH_EIGEN

#include <Eigen/Core>
#include <cstdint>

#include "kernels/forward/forward_math.h"

namespace retrosim::kernels {
namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Stride = Eigen::OuterStride<>;
using Input = Eigen::Map<const RowMajor, Eigen::Unaligned, Stride>;
using Output = Eigen::Map<RowMajor, Eigen::Unaligned, Stride>;

void multiply_transposed(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_stride,
                         const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride) {
  Output(c, m, n, Stride(c_stride)).noalias() =
      Input(a, m, k, Stride(a_stride)) * Input(b, n, k, Stride(b_stride)).transpose();
}

void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_stride, const float* b,
              std::int64_t b_stride, float* c, std::int64_t c_stride) {
  Output(c, m, n, Stride(c_stride)).noalias() = Input(a, m, k, Stride(a_stride)) * Input(b, k, n, Stride(b_stride));
}

float exponentials(float* row, std::int64_t n, float scale) {
  Eigen::Map<Eigen::ArrayXf> values(row, n);
  const float high = values.maxCoeff();
  values = ((values - high) * scale).exp();
  return values.sum();
}

void block_sums(const float* row, std::int64_t n, std::int64_t block, float scale, float* sums) {
  const std::int64_t whole = n / block;
  const Eigen::Map<const Eigen::ArrayXXf> blocks(row, block, whole);
  for (std::int64_t j = 0; j < whole; ++j) sums[j] = blocks.col(j).sum() * scale;
  if (whole * block < n) {
    sums[whole] = Eigen::Map<const Eigen::ArrayXf>(row + whole * block, n - whole * block).sum() * scale;
  }
}

void silu_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  const Eigen::Map<const Eigen::ArrayXf> g(gate, n);
  const Eigen::Map<const Eigen::ArrayXf> u(up, n);
  Eigen::Map<Eigen::ArrayXf>(out, n) = g / (1.0F + (-g).exp()) * u;
}

constexpr ForwardMath math_of(const char* name) {
  return {.name = name,
          .multiply_transposed = multiply_transposed,
          .multiply = multiply,
          .exponentials = exponentials,
          .block_sums = block_sums,
          .silu_mul = silu_mul};
}

}  // namespace
}  // namespace retrosim::kernels
// NOLINTEND(misc-definitions-in-headers)
