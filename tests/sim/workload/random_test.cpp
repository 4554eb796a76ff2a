#include "sim/workload/random.h"

#include <gtest/gtest.h>

#include <cmath>

namespace retrosim {
namespace {

// Known answers of Random123 1.14 (examples/kat_vectors): philox4x32 10 rounds.
TEST(Philox, MatchesThePublishedVectors) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PortableMath, AgreesWithTheLibraryTo1e14) {
  for (int i = -2000; i <= 2000; ++i) {
    const double y = i * 0.31;
    EXPECT_NEAR(portable_exp(y) / std::exp(y), 1.0, 1e-14) << y;
    const double x = std::exp(y);
    EXPECT_NEAR(portable_log(x), y, 1e-14 * std::max(1.0, std::abs(y))) << x;
  }
  EXPECT_EQ(portable_log(1.0), 0.0);
  EXPECT_EQ(portable_exp(0.0), 1.0);
}

struct Moments {
  double mean = 0;
  double variance = 0;
};

template <typename Draw>
Moments moments_of(Draw draw) {
  constexpr int kCount = 200000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kCount; ++i) {
    RandomStream random(7, RandomPurpose::sample, static_cast<std::uint64_t>(i));
    const double x = draw(random);
    sum += x;
    squares += x * x;
  }
  return {sum / kCount, squares / kCount - (sum / kCount) * (sum / kCount)};
}

// Standard errors of 200,000 draws: mean sigma / 447; five of them are allowed.
TEST(RandomStream, MomentsOfEachDistribution) {
  const Moments uniform = moments_of([](RandomStream& r) { return r.uniform(); });
  EXPECT_NEAR(uniform.mean, 0.5, 5 * 0.2887 / 447);
  EXPECT_NEAR(uniform.variance, 1.0 / 12, 0.002);
  const Moments normal = moments_of([](RandomStream& r) { return r.normal(); });
  EXPECT_NEAR(normal.mean, 0, 5.0 / 447);
  EXPECT_NEAR(normal.variance, 1, 0.02);
  const Moments exponential = moments_of([](RandomStream& r) { return r.exponential(); });
  EXPECT_NEAR(exponential.mean, 1, 5.0 / 447);
  EXPECT_NEAR(exponential.variance, 1, 0.05);
  for (const double shape : {0.25, 1.0, 4.0}) {  // mean and variance of Gamma(shape, 1) are both shape
    const Moments gamma = moments_of([shape](RandomStream& r) { return r.gamma(shape); });
    EXPECT_NEAR(gamma.mean, shape, 5 * std::sqrt(shape) / 447) << shape;
    EXPECT_NEAR(gamma.variance, shape, 0.05 * shape + 0.02) << shape;
  }
}

TEST(RandomStream, DependsOnSeedPurposeAndIndexAlone) {
  const auto first = [](std::uint64_t seed, RandomPurpose purpose, std::uint64_t index) {
    return RandomStream(seed, purpose, index).next_u64();
  };
  const std::uint64_t base = first(1, RandomPurpose::arrival, 5);
  EXPECT_EQ(base, first(1, RandomPurpose::arrival, 5));
  EXPECT_NE(base, first(2, RandomPurpose::arrival, 5));
  EXPECT_NE(base, first(1, RandomPurpose::input_length, 5));
  EXPECT_NE(base, first(1, RandomPurpose::arrival, 6));
  EXPECT_NE(base, first(1, RandomPurpose::arrival, 5 + (std::uint64_t{1} << 32)));
}

}  // namespace
}  // namespace retrosim
