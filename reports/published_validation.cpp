#include "reports/published_validation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "sim/simulate.h"

namespace retrosim {
namespace {

constexpr int kSteps = 4;

double predict(const PublishedCase& question, const GpuProfile& gpu) {
  const DecodeConfig& config = question.config;
  std::vector<StepDemand> steps(kSteps, demand_without_unseen(config));
  for (int step = 0; step < kSteps; ++step) steps[static_cast<std::size_t>(step)].position = step;
  const SimulationResult result = simulate_decode(config, gpu, steps);
  switch (question.metric) {
    case PublishedMetric::step_latency_ms: return result.step.latency_us_mean / 1e3;
    case PublishedMetric::tokens_per_s: return static_cast<double>(config.batch) * 1e6 / result.step.latency_us_mean;
    case PublishedMetric::layer_attention_us: break;
  }
  static constexpr std::array<OpKind, 4> kAttention{OpKind::page_score, OpKind::top_k, OpKind::attention,
                                                    OpKind::attention_merge};
  double latency_us = 0;
  for (const OpRecord& op : result.ops) {
    const bool counts = std::ranges::find(kAttention, op.kind) != kAttention.end();
    if (op.layer == config.llm.num_layers - 1 && counts) latency_us += op.latency_us;
  }
  return latency_us;
}

std::vector<double> sorted_errors(const PublishedValidation& validation) {
  std::vector<double> errors;
  for (const PublishedComparison& comparison : validation.compared)
    errors.push_back(std::abs(comparison.relative_error()));
  std::ranges::sort(errors);
  return errors;
}

Json row_json(const PublishedRow& row) {
  return {{"row", row.row},         {"policy", row.policy}, {"model", row.model},       {"gpu", row.gpu},
          {"context", row.context}, {"batch", row.batch},   {"budget", row.budget},     {"metric", row.metric},
          {"value", row.value},     {"unit", row.unit},     {"evidence", row.evidence}, {"source", row.source}};
}

}  // namespace

double PublishedValidation::within_25() const {
  if (compared.empty()) return 0;
  const auto within = std::ranges::count_if(
      compared, [](const PublishedComparison& comparison) { return std::abs(comparison.relative_error()) <= 0.25; });
  return static_cast<double>(within) / static_cast<double>(compared.size());
}

double PublishedValidation::median_abs_error() const {
  const std::vector<double> errors = sorted_errors(*this);
  if (errors.empty()) return 0;
  const std::size_t half = errors.size() / 2;
  return errors.size() % 2 == 1 ? errors[half] : (errors[half - 1] + errors[half]) / 2;
}

PublishedValidation validate_published(const std::filesystem::path& file) {
  PublishedValidation validation{.file = file.string(), .compared = {}, .unmapped = {}};
  std::map<std::string, GpuProfile> profiles;
  for (const PublishedRow& row : read_published_rows(file)) {
    const auto mapping = map_published_row(row);
    if (const auto* unmapped = std::get_if<Unmapped>(&mapping)) {
      validation.unmapped.emplace_back(row, *unmapped);
      continue;
    }
    const auto& question = std::get<PublishedCase>(mapping);
    auto profile = profiles.find(question.gpu);
    if (profile == profiles.end()) profile = profiles.emplace(question.gpu, find_gpu_profile(question.gpu)).first;
    validation.compared.push_back({row, question, predict(question, profile->second)});
  }
  return validation;
}

Json published_validation_json(const PublishedValidation& validation) {
  Json compared = Json::array();
  for (const PublishedComparison& comparison : validation.compared) {
    Json entry = row_json(comparison.row);
    entry["published"] = comparison.question.value;
    entry["predicted"] = comparison.predicted;
    entry["relative_error"] = comparison.relative_error();
    entry["profile_gpu"] = comparison.question.gpu;
    entry["policy_variant"] = name_of(comparison.question.config.policy->variant());
    entry["assumptions"] = comparison.question.assumptions;
    compared.push_back(std::move(entry));
  }
  Json unmapped = Json::array();
  for (const auto& [row, why] : validation.unmapped) {
    Json entry = row_json(row);
    entry["reason"] = why.reason;
    unmapped.push_back(std::move(entry));
  }
  return {{"schema", "retrosim.validate-published/1"},
          {"measured", validation.file},
          {"rows", validation.compared.size() + validation.unmapped.size()},
          {"mapped", validation.compared.size()},
          {"within_25", validation.within_25()},
          {"median_abs_error", validation.median_abs_error()},
          {"compared", std::move(compared)},
          {"unmapped", std::move(unmapped)}};
}

}  // namespace retrosim
