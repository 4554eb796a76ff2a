// Draws of every preset beside the published statistics that it was fitted to.
#include "sim/workload/presets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "model/error.h"
#include "sim/workload/synthetic.h"
#include "sim/workload/trace_file.h"

namespace retrosim {

/// How GoogleTest names a parameter.
void PrintTo(const WorkloadPreset& preset, std::ostream* out) { *out << preset.name; }

namespace {

constexpr std::size_t kDraws = 200'000;

LengthStatistics statistics_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double p) { return values[static_cast<std::size_t>(p * static_cast<double>(values.size()))]; };
  LengthStatistics s{.p25 = at(0.25), .p50 = at(0.5), .p90 = at(0.9), .p95 = at(0.95), .p99 = at(0.99)};
  for (const double value : values) s.mean += value / static_cast<double>(values.size());
  return s;
}

void expect_close(const LengthStatistics& drawn, const LengthStatistics& published, double tolerance) {
  const auto expect = [&](const char* what, double LengthStatistics::*figure) {
    if (published.*figure == 0) return;
    EXPECT_NEAR(drawn.*figure / published.*figure, 1, tolerance) << what << " " << drawn.*figure;
  };
  expect("mean", &LengthStatistics::mean);
  expect("p25", &LengthStatistics::p25);
  expect("p50", &LengthStatistics::p50);
  expect("p90", &LengthStatistics::p90);
  expect("p95", &LengthStatistics::p95);
  expect("p99", &LengthStatistics::p99);
}

class EveryPreset : public testing::TestWithParam<WorkloadPreset> {};

TEST_P(EveryPreset, HasTheStatisticsThatWerePublished) {
  const WorkloadPreset& preset = GetParam();
  const Workload drawn =
      synthetic_workload({ArrivalKind::all_at_once, 1, 1}, preset.input, preset.output, kDraws, /*seed=*/3);
  std::vector<double> input;
  std::vector<double> output;
  for (const Request& request : drawn.requests) {
    input.push_back(request.input_tokens);
    output.push_back(request.output_tokens);
  }
  expect_close(statistics_of(std::move(input)), preset.input_statistics, preset.tolerance);
  expect_close(statistics_of(std::move(output)), preset.output_statistics, preset.tolerance);
  EXPECT_TRUE(preset.source.starts_with("published ")) << preset.source;
  EXPECT_EQ(parse_length(preset.input.text(), "").text(), preset.input.text());
}

/// Gaps drawn for a preset have its coefficient of variation: cv^2 = E[x^2] / E[x]^2 - 1.
TEST_P(EveryPreset, HasTheBurstinessThatWasPublished) {
  const WorkloadPreset& preset = GetParam();
  if (preset.arrival_cv == 0) GTEST_SKIP() << "not published";
  const std::vector<TimePs> arrivals =
      draw_arrivals({ArrivalKind::gamma, std::max(preset.requests_per_s, 1.0), preset.arrival_cv}, kDraws, 5);
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 1; i < kDraws; ++i) {
    const double gap = seconds_from_ps(arrivals[i] - arrivals[i - 1]);
    sum += gap;
    squares += gap * gap;
  }
  const double n = kDraws - 1;
  EXPECT_NEAR(std::sqrt(squares / n / (sum / n * sum / n) - 1) / preset.arrival_cv, 1, 0.08);
}

INSTANTIATE_TEST_SUITE_P(Presets, EveryPreset, testing::ValuesIn(workload_presets().begin(), workload_presets().end()),
                         [](const auto& tested) {
                           std::string name(tested.param.name);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

/// The Azure presets' statistics are those of the traces beside the project.
TEST(Presets, AzureStatisticsAreTheTraces) {
  const std::filesystem::path folder = std::filesystem::path(RETROSIM_SHARED_DIR) / "workloads";
  for (const auto& [preset, file] :
       {std::pair{"azure-conv", "workload_splitwise_conv.csv"}, {"azure-code", "workload_splitwise_code.csv"}}) {
    if (!std::filesystem::exists(folder / file)) GTEST_SKIP() << folder << " is not there";
    const WorkloadPreset& p = find_workload_preset(preset, "");
    const Workload trace = load_workload(folder / file);
    std::vector<double> input;
    std::vector<double> output;
    for (const Request& request : trace.requests) {
      input.push_back(request.input_tokens);
      output.push_back(request.output_tokens);
    }
    expect_close(statistics_of(std::move(input)), p.input_statistics, 0.002);
    expect_close(statistics_of(std::move(output)), p.output_statistics, 0.002);
    const auto n = static_cast<double>(trace.requests.size());
    EXPECT_NEAR(n / seconds_from_ps(trace.requests.back().arrival) / p.requests_per_s, 1, 0.002);
  }
}

TEST(Presets, UnknownNamesAreRefusedWithTheList) {
  try {
    find_workload_preset("nobody", "workload");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("mooncake-toolagent"), std::string::npos);
  }
}

}  // namespace
}  // namespace retrosim
