#include "reports/trace_stats.h"

#include <algorithm>
#include <thread>

#include "model/decode_config.h"
#include "model/error.h"
#include "reports/format.h"
#include "reports/policy_flags.h"
#include "reports/table.h"
#include "reports/trace_info.h"

namespace retrosim {
namespace {

std::vector<std::string> window_headers(const std::string& what, const std::vector<int>& windows) {
  std::vector<std::string> headers;
  for (const int window : windows) headers.push_back(what + " w=" + std::to_string(window));
  return headers;
}

std::vector<std::string> row_of(const std::string& name, const LayerStatistics& statistics) {
  std::vector<std::string> row = {name, fixed(statistics.overlap_topk, 3),
                                  statistics.overlap_nextk ? fixed(*statistics.overlap_nextk, 3) : "n/a",
                                  fixed(statistics.unseen_pages_mean, 1)};
  for (const double ratio : statistics.exposure) row.push_back(fixed(ratio, 3));
  for (const double mass : statistics.mass_recall) row.push_back(fixed(mass, 3));
  return row;
}

}  // namespace

TraceStatsAnswer run_trace_stats(const TraceStatsRequest& request) {
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
  TraceStatisticsOptions options;
  options.policy = make_policy(request.policy, budget_params(request.policy, request.budget, request.budget_tokens));
  options.windows = request.windows;
  options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const TraceReader trace(request.file);
  return {.request = request, .statistics = trace_statistics(trace, options), .warning = truncation_warning(trace)};
}

Json trace_stats_document(const TraceStatsAnswer& answer) {
  const TraceStatsRequest& request = answer.request;
  Json inputs{{"file", request.file},
              {"policy", request.policy},
              {"budget", nullptr},
              {"budget_tokens", nullptr},
              {"windows", request.windows}};
  if (request.budget_tokens) {
    inputs["budget_tokens"] = *request.budget_tokens;
  } else if (request.policy != "full") {
    inputs["budget"] = request.budget.value_or(PolicyParams{}.budget);
  }
  Json json{{"schema", "retrosim.trace_stats/1"}, {"inputs", std::move(inputs)}};
  json.update(to_json(answer.statistics));
  return json;
}

std::string trace_stats_text(const TraceStatsAnswer& answer) {
  const TraceStatistics& statistics = answer.statistics;
  std::vector<std::string> headers = {"layer", "in prev top-k", "in prev next-k", "unseen"};
  for (std::string& header : window_headers("exposure", statistics.windows)) headers.push_back(std::move(header));
  for (std::string& header : window_headers("recall", statistics.windows)) headers.push_back(std::move(header));
  Table table(headers);
  for (std::size_t i = 0; i < statistics.layers.size(); ++i) {
    table.add(row_of(std::to_string(statistics.layers[i]), statistics.per_layer[i]));
  }
  table.add(row_of("all", statistics.overall));
  return answer.request.file + ": " + statistics.policy + ", " + std::to_string(statistics.counted_steps) + " of " +
         std::to_string(statistics.num_steps) + " steps counted\n\n" + table.to_text() +
         "\nexposure w: pages a query has seen after w-1 later steps, relative to its own; recall w: attention mass on "
         "them\n";
}

}  // namespace retrosim
