#include "traces/budget_statistics.h"

#include <algorithm>

#include "model/error.h"
#include "traces/budget_curve.h"
#include "traces/each_ranking.h"
#include "traces/parallel.h"

namespace retrosim {
namespace {

/// Columns of StepSums: two counts, then a block per statistic.
struct Columns {
  std::size_t budgets;
  std::size_t windows;

  static constexpr std::size_t kQueries = 0;
  static constexpr std::size_t kHeadSteps = 1;
  std::size_t pages(std::size_t b) const { return 2 + b; }
  std::size_t in_previous(std::size_t b) const { return 2 + budgets + b; }
  std::size_t oracle(std::size_t b) const { return 2 + 2 * budgets + b; }
  std::size_t block(std::size_t index, std::size_t w, std::size_t b) const {
    return 2 + 3 * budgets + (index * windows + w) * budgets + b;
  }
  std::size_t visits(std::size_t w, std::size_t b) const { return block(0, w, b); }
  std::size_t recall(std::size_t w, std::size_t b) const { return block(1, w, b); }
  std::size_t served(std::size_t w, std::size_t b) const { return block(2, w, b); }
  std::size_t served_pages(std::size_t w, std::size_t b) const { return block(3, w, b); }
  std::size_t count() const { return block(4, 0, 0); }
};

void add(const BudgetStep& now, std::int64_t step, const Columns& columns, StepSums& sums) {
  if (now.recall.empty()) return;
  sums.add(step, Columns::kQueries, 1);
  if (step > 0) sums.add(step, Columns::kHeadSteps, 1);
  for (std::size_t b = 0; b < columns.budgets; ++b) {
    sums.add(step, columns.oracle(b), now.oracle_recall[b]);
    for (std::size_t w = 0; w < columns.windows; ++w) {
      const std::size_t at = w * columns.budgets + b;
      sums.add(step, columns.recall(w, b), now.recall[at]);
      sums.add(step, columns.served(w, b), now.served_recall[at]);
      if (step == 0) continue;
      sums.add(step, columns.visits(w, b), static_cast<double>(now.unseen_visits[at]));
      sums.add(step, columns.served_pages(w, b), static_cast<double>(now.served_pages[at]));
    }
    if (step == 0) continue;  // nothing came before
    sums.add(step, columns.pages(b), static_cast<double>(now.pages[b]));
    sums.add(step, columns.in_previous(b), static_cast<double>(now.in_previous[b]));
  }
}

StepSums replay_layer(const TraceReader& trace, int slot, const TraceStatisticsOptions& options,
                      const std::vector<std::shared_ptr<const Policy>>& policies, const Columns& columns,
                      std::int64_t num_steps) {
  StepSums sums(num_steps, columns.count());
  const TraceHeader& header = trace.header();
  std::vector<BudgetCurve> heads(static_cast<std::size_t>(header.num_kv_heads),
                                 BudgetCurve(policies, options.windows, header.page_size));
  for_each_ranking(trace, slot, options.first_step, num_steps,
                   [&](int head, std::int64_t step, const HeadRanking& ranking) {
                     add(heads[static_cast<std::size_t>(head)].advance(ranking), step, columns, sums);
                   });
  return sums;
}

}  // namespace

std::vector<BudgetPoint> budget_statistics(const TraceReader& trace, const std::vector<double>& budgets,
                                           const TraceStatisticsOptions& options) {
  const std::int64_t steps = steps_for_windows(trace, options);
  if (budgets.empty()) throw InputError("", "--budgets", "none", "at least one");
  std::vector<std::shared_ptr<const Policy>> policies;
  for (std::size_t b = 0; b < budgets.size(); ++b) {
    if (!(budgets[b] > 0 && budgets[b] <= 1)) {
      throw InputError("", "--budgets", std::to_string(budgets[b]), "fractions of the pages in (0, 1]");
    }
    if (b > 0 && budgets[b] <= budgets[b - 1]) {
      throw InputError("", "--budgets", std::to_string(budgets[b]), "budgets in ascending order");
    }
    policies.push_back(make_policy("quest", {.budget = budgets[b]}));
  }
  if (!std::is_sorted(options.windows.begin(), options.windows.end())) {
    throw InputError("", "--windows", "another order", "windows in ascending order");
  }
  const Columns columns{.budgets = budgets.size(), .windows = options.windows.size()};
  StepSums all(steps, columns.count());
  for_each_parallel_in_order(
      static_cast<int>(trace.header().recorded_layers.size()), options.threads,
      [&](int slot) { return replay_layer(trace, slot, options, policies, columns, steps); },
      [&](int, const StepSums& layer) { all.add(layer); });

  const auto ratio = [&](std::size_t numerator, std::size_t denominator) {
    return options.intervals ? all.estimate(numerator, denominator, options.bootstrap)
                             : Estimate{all.ratio(numerator, denominator), {}};
  };
  std::vector<BudgetPoint> points;
  for (std::size_t b = 0; b < budgets.size(); ++b) {
    BudgetPoint point;
    point.budget = budgets[b];
    point.selected_pages_mean = all.ratio(columns.pages(b), Columns::kHeadSteps);
    point.overlap_topk = ratio(columns.in_previous(b), columns.pages(b));
    point.oracle_recall = ratio(columns.oracle(b), Columns::kQueries);
    for (std::size_t w = 0; w < columns.windows; ++w) {
      Estimate exposure = ratio(columns.visits(w, b), columns.pages(b));
      exposure.value += 1;
      exposure.interval.low += 1;
      exposure.interval.high += 1;
      point.exposure.push_back(exposure);
      point.mass_recall.push_back(ratio(columns.recall(w, b), Columns::kQueries));
      point.served_recall.push_back(ratio(columns.served(w, b), Columns::kQueries));
      point.served_pages.push_back(ratio(columns.served_pages(w, b), columns.pages(b)));
    }
    points.push_back(std::move(point));
  }
  return points;
}

}  // namespace retrosim
