#include "kernels/forward/forward_math.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <stdexcept>
#include <string>

#include "kernels/forward/parallel.h"
#include "tests/kernels/random_kv.h"

namespace retrosim::kernels {
namespace {

class ForwardMathOf : public ::testing::TestWithParam<const ForwardMath*> {
 protected:
  const ForwardMath& math = *GetParam();
  std::mt19937 random{12};
};

std::vector<const ForwardMath*> all_of_them() {
  std::vector<const ForwardMath*> all{&baseline_forward_math()};
  if (avx2_forward_math() != nullptr) all.push_back(avx2_forward_math());
  return all;
}
INSTANTIATE_TEST_SUITE_P(Cpus, ForwardMathOf, ::testing::ValuesIn(all_of_them()),
                         [](const auto& test) { return std::string(test.param->name); });

TEST_P(ForwardMathOf, MultipliesStridedMatrices) {
  const int m = 19, n = 37, k = 65, a_stride = 70, b_stride = 66, c_stride = 40;
  const std::vector<float> a = random_floats(m * a_stride, random), b = random_floats(65 * b_stride, random);
  std::vector<float> c(m * c_stride, 7.0F), c_transposed = c;
  math.multiply(m, n, k, a.data(), a_stride, b.data(), b_stride, c.data(), c_stride);
  math.multiply_transposed(m, n, k, a.data(), a_stride, b.data(), b_stride, c_transposed.data(), c_stride);
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < c_stride; ++j) {
      double expected = 0, expected_transposed = 0;
      for (int l = 0; l < k; ++l) {
        if (j >= n) continue;
        expected += static_cast<double>(a[i * a_stride + l]) * b[l * b_stride + j];
        expected_transposed += static_cast<double>(a[i * a_stride + l]) * b[j * b_stride + l];
      }
      EXPECT_NEAR(c[i * c_stride + j], j < n ? expected : 7.0, 1e-4);  // what lies between the rows is left alone
      EXPECT_NEAR(c_transposed[i * c_stride + j], j < n ? expected_transposed : 7.0, 1e-4);
    }
  }
}

TEST_P(ForwardMathOf, ExponentiatesRelativeToTheMaximum) {
  std::vector<float> row = random_floats(21, random);
  row[5] = 300.0F;  // would overflow without it
  const std::vector<float> before = row;
  const float sum = math.exponentials(row.data(), 21, 0.125F);
  double expected_sum = 0;
  for (int i = 0; i < 21; ++i) {
    const double expected = std::exp((before[i] - 300.0) * 0.125);
    expected_sum += expected;
    EXPECT_NEAR(row[i], expected, 1e-6);
  }
  EXPECT_NEAR(sum, expected_sum, 1e-5);
}

TEST_P(ForwardMathOf, SumsBlocksAndTheRest) {
  const std::vector<float> row{1, 2, 3, 4, 5, 6, 7};
  std::vector<float> sums(3);
  math.block_sums(row.data(), 7, 3, 0.5F, sums.data());
  EXPECT_THAT(sums, ::testing::ElementsAre(3, 7.5F, 3.5F));  // (1+2+3)/2, (4+5+6)/2, 7/2
}

TEST_P(ForwardMathOf, Gates) {
  const std::vector<float> gate{0, 1, -30, 30}, up{5, 2, 3, 4};
  std::vector<float> out(4);
  math.silu_mul(gate.data(), up.data(), 4, out.data());
  EXPECT_FLOAT_EQ(out[0], 0);
  EXPECT_NEAR(out[1], 2 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(out[2], 0, 1e-6);
  EXPECT_NEAR(out[3], 120, 1e-4);
}

TEST(ParallelFor, DoesEveryTaskOnceAndRethrows) {
  std::vector<std::atomic<int>> done(100);
  parallel_for(3, 100, [&](std::int64_t i) { ++done[i]; });
  for (const auto& count : done) EXPECT_EQ(count, 1);
  EXPECT_THROW(parallel_for(3, 100,
                            [](std::int64_t i) {
                              if (i == 42) throw std::runtime_error("42");
                            }),
               std::runtime_error);
}

}  // namespace
}  // namespace retrosim::kernels
