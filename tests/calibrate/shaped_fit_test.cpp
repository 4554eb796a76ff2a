#include "calibrate/shaped_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "calibrate/latency_table_fit.h"

namespace retrosim {
namespace {

constexpr double kOffsetS = 2e-6;

FitPlan plan() {
  FitPlan plan;
  plan.start = {3e-6, 0.7, 0.5, 0, 0, 0, 0};
  plan.fitted[static_cast<std::size_t>(Parameter::fixed_latency_s)] = true;
  plan.fitted[static_cast<std::size_t>(Parameter::hbm_efficiency)] = true;
  plan.hbm_bandwidth_bytes_per_s = 3e12;
  plan.peak_flops_per_s = 1e15;
  plan.l2_bandwidth_bytes_per_s = 1e13;
  plan.sm_count = 132;
  return plan;
}

/// Products of 4096 inputs whose time is 4 us + bytes / (0.8 * 3 TB/s), slower by the `step` above 32 rows, behind an
/// offset, with 1 % noise. One in five is held out.
std::vector<ShapedSample> samples(double step) {
  std::mt19937 random(5);
  std::normal_distribution<double> noise(0, 0.01);
  std::vector<ShapedSample> all;
  for (const std::int64_t n : {1024, 2048, 4096, 6144, 8192, 12288, 16384, 24576, 32768}) {
    for (const std::int64_t m : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
      const Op op{.shape = MatmulShape{.m = m, .n = n, .k = 4096}};
      const double bytes = static_cast<double>(n) * 4096 * 2;
      const double own_s = (4e-6 + bytes / 2.4e12) * (m > 32 ? step : 1.0) * std::exp(noise(random));
      const std::string label = std::to_string(m) + " " + std::to_string(n);
      all.push_back({.op = op,
                     .sample = {.work = {.hbm_bytes = bytes},
                                .measured_s = own_s + kOffsetS,
                                .offset_s = kOffsetS,
                                .regime = m > 32 ? "many rows" : "few rows",
                                .label = label,
                                .held_out = fold_of(label, 5) == 0},
                     .group = std::to_string(n)});
    }
  }
  return all;
}

const std::vector<std::vector<LatencyTable::Axis>> kGrids{
    {axis_at(ShapeAxis::rows, {1, 8, 32, 64, 256}), axis_at(ShapeAxis::columns, {1024, 8192, 32768})}};

TEST(ShapedFit, WithoutGridsIsTheRoofline) {
  const KindProfile kind = fit_shaped(plan(), samples(1.0), {});
  EXPECT_TRUE(kind.tables.empty());
  EXPECT_NEAR(kind.fixed_latency_s.value, 4e-6, 0.1e-6);
  EXPECT_NEAR(kind.hbm_efficiency.value, 0.8, 0.01);
}

TEST(ShapedFit, TablesFindWhatTheRooflineDoesNotSay) {
  const std::vector<ShapedSample> all = samples(1.4);
  const KindProfile roofline = fit_shaped(plan(), all, {});
  const KindProfile kind = fit_shaped(plan(), all, kGrids);
  EXPECT_GT(roofline.hold_out.mape, 0.08);
  EXPECT_LT(kind.hold_out.mape, 0.015);  // the noise
  EXPECT_EQ(kind.hold_out.samples, roofline.hold_out.samples);
  ASSERT_EQ(kind.by_regime.size(), 2U);
  for (const ShapedSample& shaped : all) {
    if (!shaped.sample.held_out) continue;
    EXPECT_NEAR(predicted_s(plan(), kind, shaped) / shaped.sample.measured_s, 1.0, 0.05) << shaped.sample.label;
  }
}

}  // namespace
}  // namespace retrosim
