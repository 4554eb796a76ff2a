// `retrosim trace stats`: what a trace says about a policy, as a document, a page of tables and charts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "reports/json_text.h"
#include "traces/budget_statistics.h"
#include "traces/statistics.h"

namespace retrosim {

struct TraceStatsRequest {
  std::string file;
  std::string policy = "quest";
  std::optional<double> budget;  // fraction of pages; default 0.15
  std::optional<std::int64_t> budget_tokens;
  std::vector<int> windows = {1, 2, 4, 8, 16};  // queries
  /// Of the budget curve, quest only; empty: kDefaultBudgets for quest, none for another policy.
  std::vector<double> budgets;
  std::vector<int> page_sizes;  // tokens, multiples of the trace's; empty: twice and four times it where possible
  int max_lag = 64;             // steps
  std::int64_t block_steps = 32;
  int resamples = 1000;
  std::uint64_t seed = 1;
};

struct TraceStatsAnswer {
  TraceStatsRequest request;
  TraceStatistics statistics;
  std::vector<BudgetPoint> budgets;
  std::vector<TraceStatistics> page_sizes;  // without lags and reuse
  std::string warning;                      // one line when the trace was cut off, else empty
};

/// Throws InputError naming the flag, or as trace_statistics() and budget_statistics() do.
TraceStatsAnswer run_trace_stats(const TraceStatsRequest& request);

/// Schema retrosim.trace_stats/1: `inputs`, the fields of to_json(TraceStatistics), then `budgets` and `page_sizes`.
Json trace_stats_document(const TraceStatsAnswer& answer);
std::string trace_stats_text(const TraceStatsAnswer& answer);

/// Throws InputError unless files could be written into `folder`, which is made.
void require_trace_stats_folder(const std::string& folder);
/// trace-stats.json, trace-stats.txt, charts as SVG, and index.html that shows them together.
void write_trace_stats_files(const TraceStatsAnswer& answer, const std::string& folder);

}  // namespace retrosim
