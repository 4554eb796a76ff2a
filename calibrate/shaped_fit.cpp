#include "calibrate/shaped_fit.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "calibrate/latency_table_fit.h"

namespace retrosim {
namespace {

constexpr int kInnerFolds = 5;
constexpr double kLeastShare = 0.05;  // of a measured time that is taken to be the operation's own, whatever its offset

void describe_hold_out(const FitPlan& plan, const std::vector<ShapedSample>& samples, KindProfile& kind) {
  std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> regimes;
  std::vector<double> predicted;
  std::vector<double> measured;
  for (const ShapedSample& shaped : samples) {
    if (!shaped.sample.held_out) continue;
    predicted.push_back(predicted_s(plan, kind, shaped));
    measured.push_back(shaped.sample.measured_s);
    regimes[shaped.sample.regime].first.push_back(predicted.back());
    regimes[shaped.sample.regime].second.push_back(measured.back());
  }
  kind.hold_out = error_summary(predicted, measured);
  kind.by_regime.clear();
  for (const auto& [regime, values] : regimes) {
    kind.by_regime.push_back({regime, error_summary(values.first, values.second)});
  }
}

}  // namespace

double predicted_s(const FitPlan& plan, const KindProfile& kind, const ShapedSample& sample) {
  double log_factor = 0;
  for (const LatencyTable& table : kind.tables) log_factor += table.log_factor(sample.op, plan.sm_count);
  const double offset_s = sample.sample.offset_s;
  return offset_s + (predicted_s(plan, kind, sample.sample) - offset_s) * std::exp(log_factor);
}

KindProfile fit_shaped(const FitPlan& plan, const std::vector<ShapedSample>& samples,
                       const std::vector<std::vector<LatencyTable::Axis>>& grids) {
  std::vector<LatencySample> plain;
  for (const ShapedSample& shaped : samples) plain.push_back(shaped.sample);
  KindProfile kind = fit_roofline(plan, plain);
  if (grids.empty()) return kind;
  std::vector<TableSample> table_samples;
  for (const ShapedSample& shaped : samples) {
    const LatencySample& sample = shaped.sample;
    if (sample.held_out) continue;
    const double own_s = std::max(sample.measured_s - sample.offset_s, kLeastShare * sample.measured_s);
    table_samples.push_back({.op = shaped.op,
                             .log_ratio = std::log(own_s / (predicted_s(plan, kind, sample) - sample.offset_s)),
                             .fold = fold_of("inner " + shaped.group, kInnerFolds)});
  }
  kind.tables = fit_latency_tables(grids, table_samples, plan.sm_count, {0.001, 0.01, 0.1, 1.0}, kInnerFolds).tables;
  describe_hold_out(plan, samples, kind);
  return kind;
}

}  // namespace retrosim
