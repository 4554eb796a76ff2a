// Quest, retrospection, an oracle and the reviewers' variant at every budget, from one pass over a trace.
#pragma once

#include <vector>

#include "traces/statistics.h"

namespace retrosim {

/// Means as in LayerStatistics, over all recorded layers and KV heads; every statistic over the steps whose whole
/// window was recorded. All variants select by Quest's ranking, the oracle apart.
struct BudgetPoint {
  double budget = 0;  // fraction of the context's pages
  double selected_pages_mean = 0;
  Estimate overlap_topk;
  std::vector<Estimate> exposure;     // [windows]
  std::vector<Estimate> mass_recall;  // [windows]: retro w; window 1 is Quest
  Estimate oracle_recall;             // of as many pages: those with the most attention mass
  // [windows]: pages selected for the w - 1 tokens before serve the current one as well. They must be read.
  std::vector<Estimate> served_recall;
  std::vector<Estimate> served_pages;  // pages read, relative to k
};

/// Points at `budgets` (ascending, each in (0, 1]). options.policy, max_lag, reuse and merged_pages are not looked at.
/// Throws InputError as trace_statistics() does, and for windows or budgets out of order or a budget outside (0, 1].
std::vector<BudgetPoint> budget_statistics(const TraceReader& trace, const std::vector<double>& budgets,
                                           const TraceStatisticsOptions& options);

}  // namespace retrosim
