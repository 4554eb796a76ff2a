#include "sim/sweep/design.h"

#include <gtest/gtest.h>

#include <set>

#include "model/error.h"

namespace retrosim {
namespace {

TEST(SweepDesign, GridHasEveryCombinationOnceLastAxisFastest) {
  const SweepDesign design = SweepDesign::grid({2, 3});
  ASSERT_EQ(design.size(), 6U);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> seen;
  for (std::uint64_t point = 0; point < 6; ++point) {
    const std::vector<double> at = design.at(point);
    seen.emplace_back(choice_at(at[0], 2), choice_at(at[1], 3));
  }
  const std::vector<std::pair<std::uint64_t, std::uint64_t>> expected{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}};
  EXPECT_EQ(seen, expected);
}

TEST(SweepDesign, RefusesEmptyAndEndlessGrids) {
  EXPECT_THROW(SweepDesign::grid({3, 0}), InputError);
  EXPECT_THROW(SweepDesign::grid({100'000, 100'000}), InputError);
  EXPECT_THROW(SweepDesign::grid({1ULL << 40, 1ULL << 40}), InputError);
  EXPECT_THROW(SweepDesign::latin_hypercube(2, 0, 1), InputError);
}

// Latin: on every axis every stratum holds exactly one point, for sizes that are and are not powers of four.
TEST(SweepDesign, EveryStratumOfALatinHypercubeHoldsOnePoint) {
  for (const std::uint64_t samples : {1, 2, 5, 16, 100, 1000}) {
    const SweepDesign design = SweepDesign::latin_hypercube(3, samples, 7);
    for (std::size_t axis = 0; axis < 3; ++axis) {
      std::set<std::uint64_t> strata;
      for (std::uint64_t point = 0; point < samples; ++point) {
        const double at = design.at(point)[axis];
        ASSERT_GT(at, 0);
        ASSERT_LT(at, 1);
        strata.insert(choice_at(at, samples));
      }
      EXPECT_EQ(strata.size(), samples) << "axis " << axis;
    }
  }
}

// Axes are paired at random: the correlation of two uniform coordinates over n points has a deviation of 1 / sqrt(n).
TEST(SweepDesign, AxesOfALatinHypercubeAreUncorrelated) {
  constexpr std::uint64_t kSamples = 4096;
  const SweepDesign design = SweepDesign::latin_hypercube(2, kSamples, 3);
  double sum = 0;
  for (std::uint64_t point = 0; point < kSamples; ++point) {
    const std::vector<double> at = design.at(point);
    sum += (at[0] - 0.5) * (at[1] - 0.5) * 12;
  }
  EXPECT_LT(std::abs(sum / kSamples), 4.0 / 64);
}

TEST(SweepDesign, SeedDecides) {
  const auto first = [](std::uint64_t seed) { return SweepDesign::latin_hypercube(2, 50, seed).at(0); };
  EXPECT_EQ(first(1), first(1));
  EXPECT_NE(first(1), first(2));
}

}  // namespace
}  // namespace retrosim
