#include "calibrate/roofline_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "model/error.h"

namespace retrosim {
namespace {

FitPlan synthetic_plan() {
  FitPlan plan;
  plan.hbm_bandwidth_bytes_per_s = 3e12;
  plan.peak_flops_per_s = 1e15;
  plan.l2_bandwidth_bytes_per_s = 5e12;
  plan.sm_count = 100;
  plan.start = {1e-6, 0.5, 0.5, 0, 1, 0, 1e-6};
  plan.fitted = {true, true, true, false, true, false, true};
  return plan;
}

/// Known truth, sizes over four decades, log-normal noise of `noise`, some gross outliers.
std::vector<LatencySample> synthetic_samples(double noise, unsigned seed, bool outliers) {
  KindProfile truth;
  truth.fixed_latency_s = {4e-6, 4e-6, 4e-6};
  truth.hbm_efficiency = {0.88, 0.88, 0.88};
  truth.compute_efficiency = {0.7, 0.7, 0.7};
  truth.memory_half_units = {3, 3, 3};
  truth.unit_latency_s = {2e-6, 2e-6, 2e-6};
  const FitPlan plan = synthetic_plan();
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, 1);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<LatencySample> samples;
  for (int i = 0; i < 1500; ++i) {
    LatencySample sample;
    sample.work = {.hbm_bytes = std::pow(10, 4.5 + 5 * uniform(random)),
                   .flops = std::pow(10, 6 + 6 * uniform(random)),
                   .units = std::pow(2, 10 * uniform(random))};
    sample.offset_s = 1e-6;
    sample.regime = i % 2 == 0 ? "even" : "odd";
    sample.held_out = i % 5 == 0;
    sample.measured_s = predicted_s(plan, truth, sample) * std::exp(noise * normal(random));
    if (outliers && i % 50 == 1) sample.measured_s *= 5;
    samples.push_back(sample);
  }
  return samples;
}

TEST(RooflineFit, RecoversKnownParametersExactlyWithoutNoise) {
  const KindProfile kind = fit_roofline(synthetic_plan(), synthetic_samples(0, 1, false));
  EXPECT_NEAR(kind.fixed_latency_s.value, 4e-6, 1e-10);
  EXPECT_NEAR(kind.hbm_efficiency.value, 0.88, 1e-5);
  EXPECT_NEAR(kind.compute_efficiency.value, 0.7, 1e-5);
  EXPECT_NEAR(kind.memory_half_units.value, 3, 1e-3);
  EXPECT_NEAR(kind.unit_latency_s.value, 2e-6, 1e-10);
  EXPECT_LT(kind.hold_out.mape, 1e-5);
}

// Decode attention bound by what its warps pass, beside bytes: known parameters come back.
TEST(RooflineFit, RecoversTheTimeOfASerialToken) {
  FitPlan plan = synthetic_plan();
  plan.start = {1e-6, 0.5, 0.5, 0, 0, 0, 0, 5e-9};
  plan.fitted = {true, true, false, false, false, false, false, true};
  KindProfile truth;
  truth.fixed_latency_s = {4e-6, 4e-6, 4e-6};
  truth.hbm_efficiency = {0.88, 0.88, 0.88};
  truth.compute_efficiency = {0.5, 0.5, 0.5};
  truth.serial_token_s = {1.3e-8, 1.3e-8, 1.3e-8};
  std::vector<LatencySample> samples = synthetic_samples(0, 5, false);
  for (LatencySample& sample : samples) {
    sample.work.serial_tokens = sample.work.flops / 1e7;
    sample.work.flops = 0;
    sample.measured_s = predicted_s(plan, truth, sample);
  }
  const KindProfile kind = fit_roofline(plan, samples);
  EXPECT_NEAR(kind.serial_token_s.value, 1.3e-8, 1e-12);
  EXPECT_NEAR(kind.hbm_efficiency.value, 0.88, 1e-5);
}

// A 95 % interval misses in one case of twenty: of 5 parameters in 20 repetitions, 100 intervals, about 5 should miss.
// With independent misses more than 12 happen in 0.15 % of all cases; the seeds are fixed.
TEST(RooflineFit, IntervalsCoverTheTruthWithNoiseAndOutliers) {
  int misses = 0;
  for (unsigned seed = 1; seed <= 20; ++seed) {
    const KindProfile kind = fit_roofline(synthetic_plan(), synthetic_samples(0.05, seed, false));
    const auto missed = [](const Fitted& fitted, double truth) { return truth < fitted.low || truth > fitted.high; };
    misses += missed(kind.fixed_latency_s, 4e-6) + missed(kind.hbm_efficiency, 0.88) +
              missed(kind.compute_efficiency, 0.7) + missed(kind.memory_half_units, 3) +
              missed(kind.unit_latency_s, 2e-6);
    EXPECT_NEAR(kind.hold_out.mape, 0.05 * std::sqrt(2 / M_PI), 0.006);  // mean of |N(0, 0.05)|
  }
  EXPECT_LE(misses, 12);
}

TEST(RooflineFit, OutliersHardlyMoveIt) {
  const KindProfile kind = fit_roofline(synthetic_plan(), synthetic_samples(0.02, 3, true));
  EXPECT_NEAR(kind.fixed_latency_s.value, 4e-6, 0.1e-6);
  EXPECT_NEAR(kind.hbm_efficiency.value, 0.88, 0.02);
}

TEST(RooflineFit, HeldOutSamplesAreNotSeen) {
  std::vector<LatencySample> samples = synthetic_samples(0.02, 4, false);
  const KindProfile before = fit_roofline(synthetic_plan(), samples);
  for (LatencySample& sample : samples) {
    if (sample.held_out) sample.measured_s *= 3;
  }
  const KindProfile after = fit_roofline(synthetic_plan(), samples);
  EXPECT_EQ(before.fixed_latency_s.value, after.fixed_latency_s.value);
  EXPECT_NEAR(after.hold_out.mape, 2.0 / 3, 0.02);  // predicted / measured is about 1/3
  EXPECT_EQ(after.hold_out.samples, 300);
  EXPECT_EQ(after.samples, 1200);
}

TEST(RooflineFit, TooFewSamplesAreRefused) {
  std::vector<LatencySample> samples = synthetic_samples(0, 1, false);
  samples.resize(6);  // one of them held out
  EXPECT_THROW(fit_roofline(synthetic_plan(), samples), InputError);
}

// Errors 0.1, -0.2, 0.3: MAPE 0.2, bias 0.2/3, median 0.2.
TEST(RooflineFit, ErrorSummaryByHand) {
  const HoldOut errors = error_summary({1.1, 0.8, 1.3}, {1, 1, 1});
  EXPECT_NEAR(errors.mape, 0.2, 1e-12);
  EXPECT_NEAR(errors.bias, 0.2 / 3, 1e-12);
  EXPECT_NEAR(errors.median_abs_error, 0.2, 1e-12);
  EXPECT_NEAR(errors.p95_abs_error, 0.3, 1e-12);
  EXPECT_EQ(error_summary({}, {}).samples, 0);
}

}  // namespace
}  // namespace retrosim
