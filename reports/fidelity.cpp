#include "reports/fidelity.h"

#include <cmath>
#include <cstdio>
#include <numeric>
#include <optional>

#include "reports/format.h"
#include "reports/table.h"

namespace retrosim {
namespace {

constexpr std::int64_t kParts = 8;  // of the generated length

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double share(std::span<const std::uint8_t> flags) {
  return std::accumulate(flags.begin(), flags.end(), 0.0) / static_cast<double>(flags.size());
}

/// Quest at the run's budget, where it was measured.
const FidelityRun* quest_beside(const FidelityResult& result, const FidelityRun& run) {
  for (const FidelityRun& other : result.runs) {
    if (other.variant == "quest" && other.budget == run.budget) return &other;
  }
  return nullptr;
}

/// Six significant digits, so that raw samples stay small.
std::vector<double> rounded(const std::vector<double>& values) {
  std::vector<double> out;
  for (const double value : values) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    out.push_back(std::strtod(text, nullptr));
  }
  return out;
}

Json interval_json(double value, const Interval& interval) {
  return {{"mean", value}, {"low_95", interval.low}, {"high_95", interval.high}};
}

Json course(const FidelityRun& run) {
  Json parts = Json::array();
  const auto steps = std::ssize(run.kl);
  const std::int64_t part = std::max<std::int64_t>(1, (steps + kParts - 1) / kParts);
  for (std::int64_t first = 0; first < steps; first += part) {
    const std::int64_t count = std::min<std::int64_t>(part, steps - first);
    parts.push_back({{"first_step", first},
                     {"num_steps", count},
                     {"kl_nats_mean", mean(std::span(run.kl).subspan(first, count))},
                     {"top1_agreement", share(std::span(run.agrees).subspan(first, count))},
                     {"perplexity", std::exp(-mean(std::span(run.log_prob).subspan(first, count)))}});
  }
  return parts;
}

Json run_json(const FidelityResult& result, const FidelityRun& run, bool free_running, bool per_step) {
  Json json{{"variant", run.variant}, {"budget", run.budget}};
  json["kl_nats"] = interval_json(mean(run.kl), bootstrap_mean(run.kl));
  json["kl_ratio_to_quest"] = nullptr;
  const FidelityRun* quest = quest_beside(result, run);
  if (quest != nullptr && mean(quest->kl) > 0) {
    json["kl_ratio_to_quest"] = interval_json(mean(run.kl) / mean(quest->kl), bootstrap_ratio(run.kl, quest->kl));
  }
  json["top1_agreement"] = share(run.agrees);
  json["perplexity"] = std::exp(-mean(run.log_prob));
  json["full_attention_perplexity"] = std::exp(-mean(run.full_log_prob));
  json["pages_loaded_mean"] = mean(run.pages_loaded);
  json["unseen_visits_mean"] = mean(run.unseen_visits);
  if (free_running) {
    const std::vector<std::int32_t>& full = result.runs.front().tokens;
    std::int64_t equal = 0, prefix = 0;
    for (std::size_t i = 0; i < full.size(); ++i) equal += run.tokens[i] == full[i] ? 1 : 0;
    while (prefix < std::ssize(full) && run.tokens[prefix] == full[prefix]) ++prefix;
    json["tokens_before_divergence"] = prefix;
    json["tokens_equal_to_full"] = static_cast<double>(equal) / static_cast<double>(full.size());
  }
  json["course"] = course(run);
  if (per_step) {
    json["kl_nats_steps"] = rounded(run.kl);
    json["agrees_steps"] = run.agrees;
    json["log_prob_steps"] = rounded(run.log_prob);
    json["pages_loaded_steps"] = rounded(run.pages_loaded);
    json["unseen_visits_steps"] = rounded(run.unseen_visits);
    if (free_running) json["tokens"] = run.tokens;
  }
  return json;
}

}  // namespace

Json fidelity_document(const FidelityRequest& request, const FidelityResult& result) {
  const FidelityOptions& options = request.options;
  Json json{{"schema", "retrosim.fidelity/1"}};
  json["inputs"] = {{"checkpoint", request.checkpoint},
                    {"tokens", request.tokens},
                    {"mode", options.free_running ? "free_running" : "teacher_forced"},
                    {"first_position", result.first_position},
                    {"num_steps", result.steps},
                    {"budgets", options.budgets},
                    {"variants", options.variants},
                    {"page_size_tokens", options.page_size},
                    {"dense_layers", options.dense_layers}};
  json["prompt_s"] = result.prompt_s;
  json["decode_s"] = result.decode_s;
  json["bootstrap"] = {{"block_steps", BootstrapOptions{}.block_steps}, {"resamples", BootstrapOptions{}.resamples}};
  json["results"] = Json::array();
  for (const FidelityRun& run : result.runs) {
    json["results"].push_back(run_json(result, run, options.free_running, request.per_step));
  }
  if (request.per_step && !options.free_running) {
    json["full_log_prob_steps"] = rounded(result.runs.front().full_log_prob);
  }
  return json;
}

std::string fidelity_text(const FidelityRequest& request, const FidelityResult& result) {
  Table table({"variant", "budget", "pages", "KL, nats", "of Quest's", "95 %", "top-1", "perplexity", "first eighth",
               "last eighth"});
  for (const FidelityRun& run : result.runs) {
    const FidelityRun* quest = quest_beside(result, run);
    std::string ratio = "n/a", interval = "n/a";
    if (quest != nullptr && mean(quest->kl) > 0) {
      const Interval bounds = bootstrap_ratio(run.kl, quest->kl);
      ratio = fixed(mean(run.kl) / mean(quest->kl), 3);
      interval = fixed(bounds.low, 3) + " - " + fixed(bounds.high, 3);
    }
    const Json parts = course(run);
    table.add({run.variant, fixed(run.budget, 3), fixed(mean(run.pages_loaded), 1), fixed(mean(run.kl), 5), ratio,
               interval, fixed(share(run.agrees), 4), fixed(std::exp(-mean(run.log_prob)), 3),
               fixed(parts.front()["kl_nats_mean"], 5), fixed(parts.back()["kl_nats_mean"], 5)});
  }
  return request.tokens + ": " + std::to_string(result.steps) + " tokens after " +
         std::to_string(result.first_position) + ", " +
         (request.options.free_running ? "each variant on its own greedy text" : "teacher-forced") +
         "; full attention: perplexity " + fixed(std::exp(-mean(result.runs.front().full_log_prob)), 3) + "\n\n" +
         table.to_text() +
         "\nKL: KL(full || variant) of the next token, mean over tokens; first and last eighth: the same over the "
         "first "
         "and last\neighth of the decoded tokens\n";
}

}  // namespace retrosim
