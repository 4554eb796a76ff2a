#include "calibrate/live/live_validation.h"

#include <algorithm>
#include <cmath>

#include "model/step_graph.h"
#include "sim/percentile.h"

namespace retrosim {
namespace {

constexpr double kWithinShare = 0.15;
constexpr double kWithinUs = 30;

bool in_grid(const LiveConfig& config) { return config.group.starts_with("grid."); }

/// Errors by name, in the order of first use.
class Groups {
 public:
  void add(const std::string& name, double error) {
    auto found = std::find_if(groups_.begin(), groups_.end(), [&](const auto& g) { return g.first == name; });
    if (found == groups_.end()) found = groups_.insert(groups_.end(), {name, {}});
    found->second.push_back(error);
  }
  std::vector<NamedErrors> summaries() const {
    std::vector<NamedErrors> out;
    for (const auto& [name, errors] : groups_) out.push_back({name, summarize(errors)});
    return out;
  }

 private:
  std::vector<std::pair<std::string, std::vector<double>>> groups_;
};

LiveComparison compare(const LiveResult& result, const GpuProfile& gpu) {
  LiveComparison row{.result = result, .predicted = predict(result, gpu), .measured_us = measured_step_us(result)};
  row.error = row.predicted.step_us / row.measured_us - 1;
  row.roofline_error = row.predicted.roofline_us / row.measured_us - 1;
  if (!result.without_products_us.empty() && row.predicted.without_products_us > 0) {
    row.rest_us = median_of(result.without_products_us);
    row.rest_error = row.predicted.without_products_us / row.rest_us - 1;
  }
  return row;
}

/// Everything but the window, the name, and which group it is in.
std::string pair_key(const LiveConfig& config) {
  LiveConfig key = config;
  key.window = 1;
  key.id = "";
  return to_json(key).dump();
}

Traffic traffic_of(const LiveComparison& row) {
  DecodeConfig config = decode_config(row.result.config, std::max(1, row.result.sm_count));
  config.context = row.result.mean_context();
  return total_traffic(build_decode_step(config, demand_without_unseen(config)));
}

std::vector<OverheadPoint> overheads(const std::vector<LiveComparison>& rows) {
  std::map<std::string, const LiveComparison*> without;
  for (const LiveComparison& row : rows) {
    const LiveConfig& config = row.result.config;
    if (config.policy == "quest" && config.window == 1) without[pair_key(config)] = &row;
  }
  std::vector<OverheadPoint> points;
  for (const LiveComparison& row : rows) {
    const LiveConfig& config = row.result.config;
    const auto base = without.find(pair_key(config));
    if (config.policy != "quest" || config.window == 1 || base == without.end()) continue;
    const Traffic with = traffic_of(row);
    const Traffic plain = traffic_of(*base->second);
    const auto kv = [](const Traffic& t) { return static_cast<double>(t.kv_read + t.summary_read); };
    OverheadPoint point{.config = config,
                        .measured_us = base->second->measured_us,
                        .measured_over_us = row.measured_us - base->second->measured_us,
                        .predicted_over_us = row.predicted.step_us - base->second->predicted.step_us,
                        .traffic_over = static_cast<double>(with.hbm()) / static_cast<double>(plain.hbm()) - 1,
                        .kv_over = kv(with) / kv(plain) - 1,
                        .rows = static_cast<double>(config.batch * config.window)};
    const double gap = std::abs(point.predicted_over_us - point.measured_over_us);
    point.within = gap <= kWithinUs || gap <= kWithinShare * std::abs(point.measured_over_us);
    points.push_back(point);
  }
  return points;
}

}  // namespace

ErrorSummary summarize(const std::vector<double>& errors) {
  ErrorSummary out{.rows = static_cast<std::int64_t>(errors.size())};
  if (errors.empty()) return out;
  std::vector<double> sizes;
  for (const double error : errors) {
    sizes.push_back(std::abs(error));
    out.bias += error / static_cast<double>(errors.size());
    out.mape += std::abs(error) / static_cast<double>(errors.size());
  }
  out.median_abs_error = median_of(sizes);
  out.p95_abs_error = percentile(sizes, 0.95);
  out.worst_abs_error = *std::max_element(sizes.begin(), sizes.end());
  return out;
}

LiveValidation validate_live(const std::vector<LiveResult>& results, const GpuProfile& gpu) {
  LiveValidation out;
  out.profile = gpu.name;
  std::vector<double> steps;
  std::vector<double> roofline;
  std::vector<double> rest;
  Groups by_group;
  Groups by_op;
  Groups by_window;
  Groups by_policy;
  for (const LiveResult& result : results) {
    if (!result.error.empty()) {
      out.failed.push_back(result.config);
      out.failures.push_back(result.error);
      continue;
    }
    out.gpu = result.gpu;
    out.rows.push_back(compare(result, gpu));
    const LiveComparison& row = out.rows.back();
    const LiveConfig& config = result.config;
    by_group.add(config.group, row.error);
    if (config.group == "policies") {
      by_policy.add(config.window > 1 ? "retro" : config.policy, row.error);
    }
    if (!in_grid(config)) continue;
    steps.push_back(row.error);
    roofline.push_back(row.roofline_error);
    by_window.add(config.policy == "full" ? "full" : "w = " + std::to_string(config.window), row.error);
    if (row.rest_us > 0) rest.push_back(row.rest_error);
    for (const LiveOpTime& op : result.ops) {
      const auto predicted = row.predicted.op_us.find(op.name);
      if (predicted != row.predicted.op_us.end()) by_op.add(op.name, predicted->second / op.latency_us - 1);
    }
  }
  out.steps = summarize(steps);
  out.roofline = summarize(roofline);
  out.without_products = summarize(rest);
  out.by_group = by_group.summaries();
  out.by_op = by_op.summaries();
  out.by_window = by_window.summaries();
  out.by_policy = by_policy.summaries();
  out.overhead = overheads(out.rows);
  std::int64_t pairs = 0;
  std::int64_t within = 0;
  for (const OverheadPoint& point : out.overhead) {
    if (!in_grid(point.config)) continue;
    ++pairs;
    within += point.within ? 1 : 0;
  }
  out.overhead_within = pairs > 0 ? static_cast<double>(within) / static_cast<double>(pairs) : 0;
  std::stable_sort(out.rows.begin(), out.rows.end(), [](const LiveComparison& a, const LiveComparison& b) {
    return std::abs(a.error) > std::abs(b.error);
  });
  return out;
}

}  // namespace retrosim
