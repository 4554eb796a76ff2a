#include "traces/block_bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace retrosim {
namespace {

TEST(BlockBootstrap, AConstantRatioHasNoSpread) {
  const std::vector<double> below{1, 2, 3, 4, 5};
  const std::vector<double> above{2, 4, 6, 8, 10};
  const Interval interval = bootstrap_ratio(above, below, {.block_steps = 2});
  EXPECT_DOUBLE_EQ(interval.low, 2);
  EXPECT_DOUBLE_EQ(interval.high, 2);
}

TEST(BlockBootstrap, OneBlockOfAllStepsIsTheWholeSeriesEachTime) {
  const std::vector<double> values{1, 5, 9};
  const Interval interval = bootstrap_mean(values, {.block_steps = 100});
  EXPECT_DOUBLE_EQ(interval.low, 5);
  EXPECT_DOUBLE_EQ(interval.high, 5);
}

// Independent values of variance 1: the mean of 400 has standard deviation 0.05, and 95 % are within 1.96 of it. Runs
// of 10 equal values have 40 independent ones: 0.158; single steps drawn as if independent would again say 0.05.
TEST(BlockBootstrap, BlocksSeeTheDependenceOfNeighbours) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal(0, 1);
  std::vector<double> independent(400), runs(400);
  for (double& value : independent) value = normal(random);
  for (std::size_t i = 0; i < runs.size(); ++i) runs[i] = i % 10 == 0 ? normal(random) : runs[i - 1];
  const auto width = [](const Interval& interval) { return interval.high - interval.low; };
  EXPECT_NEAR(width(bootstrap_mean(independent, {.block_steps = 1})), 2 * 1.96 * 0.05, 0.03);
  EXPECT_NEAR(width(bootstrap_mean(runs, {.block_steps = 40})), 2 * 1.96 * 0.158, 0.2);
  EXPECT_LT(width(bootstrap_mean(runs, {.block_steps = 1})), 0.26);
}

// 512 steps of an AR(1) series with coefficient 0.6 over a denominator that varies, true ratio 0.5: of 300 intervals
// some 95 % hold it (fewer, as block bootstraps do at this length; 0.9 is 4 standard errors of 300 below 0.95).
TEST(BlockBootstrap, CoversTheTrueRatioAboutAsOftenAsItSays) {
  std::mt19937_64 random(11);
  std::normal_distribution<double> normal(0, 1);
  int covered = 0;
  for (int repeat = 0; repeat < 300; ++repeat) {
    std::vector<double> above(512), below(512);
    double deviation = normal(random);
    for (std::size_t i = 0; i < above.size(); ++i) {
      deviation = 0.6 * deviation + 0.8 * normal(random);
      below[i] = 10 + normal(random);
      above[i] = 0.5 * below[i] + deviation;
    }
    const Interval interval = bootstrap_ratio(above, below, {.block_steps = 32, .resamples = 400});
    covered += interval.low <= 0.5 && 0.5 <= interval.high ? 1 : 0;
  }
  EXPECT_GE(covered, 270);
  EXPECT_LE(covered, 297);
}

TEST(BlockBootstrap, RefusesSeriesOfDifferentLengths) {
  EXPECT_THROW(bootstrap_ratio(std::vector<double>{1}, std::vector<double>{1, 2}), std::invalid_argument);
  EXPECT_THROW(bootstrap_mean(std::vector<double>{}), std::invalid_argument);
}

}  // namespace
}  // namespace retrosim
