#include "reports/trace_stats.h"

#include <algorithm>
#include <thread>

#include "model/decode_config.h"
#include "model/error.h"
#include "reports/policy_flags.h"
#include "reports/trace_info.h"
#include "traces/statistics_json.h"

namespace retrosim {
namespace {

const std::vector<double> kDefaultBudgets = {0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0};

void check(const TraceStatsRequest& request) {
  if (request.windows.empty()) throw InputError("", "--windows", "", "at least one window");
  for (const int window : request.windows) {
    if (window < 1 || window > kMaxWindow) {
      throw InputError("", "--windows", std::to_string(window), "1 to " + std::to_string(kMaxWindow) + " queries");
    }
  }
  for (std::size_t i = 1; i < request.windows.size(); ++i) {
    if (request.windows[i] <= request.windows[i - 1]) {
      throw InputError("", "--windows", std::to_string(request.windows[i]), "windows in ascending order");
    }
  }
  if (!request.budgets.empty() && request.policy != "quest") {
    throw InputError("", "--budgets", request.policy, "the policy quest, whose selections of growing budgets nest");
  }
  if (request.max_lag < 0 || request.max_lag > 4096) {
    throw InputError("", "--max-lag", std::to_string(request.max_lag), "0 to 4096 steps");
  }
  if (request.block_steps < 1) throw InputError("", "--block-steps", std::to_string(request.block_steps), "at least 1");
  if (request.resamples < 100 || request.resamples > 1000000) {
    throw InputError("", "--resamples", std::to_string(request.resamples), "100 to 1000000");
  }
}

/// How many recorded pages make one of `tokens`.
int merged_pages(const TraceReader& trace, int tokens) {
  const int recorded = trace.header().page_size;
  if (tokens < recorded || tokens % recorded != 0) {
    throw InputError("", "--page-sizes", std::to_string(tokens),
                     "a multiple of the trace's pages of " + std::to_string(recorded) + " tokens");
  }
  return tokens / recorded;
}

}  // namespace

TraceStatsAnswer run_trace_stats(const TraceStatsRequest& request) {
  check(request);
  TraceStatisticsOptions options;
  options.policy = make_policy(request.policy, budget_params(request.policy, request.budget, request.budget_tokens));
  options.windows = request.windows;
  options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  options.intervals = true;
  options.bootstrap = {.block_steps = request.block_steps, .resamples = request.resamples, .seed = request.seed};
  const TraceReader trace(request.file);
  std::vector<int> merges;
  for (const int tokens : request.page_sizes) merges.push_back(merged_pages(trace, tokens));
  if (merges.empty() && trace.header().top_m == 0) merges = {2, 4};

  TraceStatsAnswer answer{
      .request = request, .statistics = {}, .budgets = {}, .page_sizes = {}, .warning = truncation_warning(trace)};
  for (const int merge : merges) {
    options.merged_pages = merge;
    answer.page_sizes.push_back(trace_statistics(trace, options));
  }
  options.merged_pages = 1;
  std::vector<double> budgets = request.budgets;
  if (budgets.empty() && request.policy == "quest" && trace.header().top_m == 0) budgets = kDefaultBudgets;
  if (!budgets.empty()) answer.budgets = budget_statistics(trace, budgets, options);
  options.max_lag = request.max_lag;
  options.reuse = true;
  answer.statistics = trace_statistics(trace, options);
  return answer;
}

Json trace_stats_document(const TraceStatsAnswer& answer) {
  const TraceStatsRequest& request = answer.request;
  Json inputs{{"file", request.file},
              {"policy", request.policy},
              {"budget", nullptr},
              {"budget_tokens", nullptr},
              {"windows", request.windows},
              {"max_lag", request.max_lag},
              {"block_steps", request.block_steps},
              {"resamples", request.resamples},
              {"seed", request.seed}};
  if (request.budget_tokens) {
    inputs["budget_tokens"] = *request.budget_tokens;
  } else if (request.policy != "full") {
    inputs["budget"] = request.budget.value_or(PolicyParams{}.budget);
  }
  Json json{{"schema", "retrosim.trace_stats/1"}, {"inputs", std::move(inputs)}};
  json.update(to_json(answer.statistics));
  json["budgets"] = to_json(answer.budgets, request.windows, true);
  json["page_sizes"] = Json::array();
  for (const TraceStatistics& statistics : answer.page_sizes) {
    Json one = to_json(statistics);
    one.erase("per_layer");
    one.erase("per_head");
    json["page_sizes"].push_back(std::move(one));
  }
  return json;
}

}  // namespace retrosim
