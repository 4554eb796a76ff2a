// What Quest's selection sees at many budgets, from one pass over the rankings. The selected sets of growing budgets
// nest: a page's stack distance at a step - its place in the ranking, the open page first - is the smallest number of
// pages with which it is selected. So a page that a query has not seen is unseen for the budgets between its place now
// and its best place in the steps between: an interval in a difference array.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/policy.h"
#include "traces/trace_reader.h"

namespace retrosim {

/// One KV head at one step t, for all budgets. Spans are valid until the next step. Queries older than the first
/// replayed step do not exist, as in HeadReplay.
struct BudgetStep {
  std::span<const std::int64_t> pages;          // [budgets]: |S_t|
  std::span<const std::int64_t> in_previous;    // [budgets]: |S_t n S_{t-1}|
  std::span<const std::int64_t> unseen_visits;  // [windows][budgets]: sum_{1 <= s < w} |U_s|
  /// Of query q = t - (max window - 1), whose window ends now; empty while q was not replayed. Shares of its mass.
  std::span<const double> recall;         // [windows][budgets]: on S_q u ... u S_{q+w-1}
  std::span<const double> oracle_recall;  // [budgets]: on the |S_q| pages with the most mass
  /// Of query t, empty at the same steps: pages selected for the tokens before serve it as well.
  std::span<const double> served_recall;       // [windows][budgets]: on S_{t-w+1} u ... u S_t
  std::span<const std::int64_t> served_pages;  // [windows][budgets]: |S_{t-w+1} u ... u S_t|
};

class BudgetCurve {
 public:
  /// `policies`: Quest at ascending budgets, of which only pages_selected() is asked; windows ascending in
  /// [1, kMaxWindow]. Throws std::invalid_argument otherwise.
  BudgetCurve(std::vector<std::shared_ptr<const Policy>> policies, std::vector<int> windows, int page_size);

  /// The next step; positions follow one another. Throws InputError when the ranking is too short for the largest
  /// budget.
  const BudgetStep& advance(const HeadRanking& ranking);

 private:
  using Budget = std::uint16_t;  // index; size(): selected at none

  void place(const HeadRanking& ranking);
  void count_pages(const HeadRanking& ranking);
  void recall_of(std::int64_t query, bool later);

  std::vector<std::shared_ptr<const Policy>> policies_;
  std::vector<int> windows_;
  int page_size_;
  std::size_t max_window_;
  std::size_t slots_;
  std::int64_t num_steps_ = 0;
  // Rings over the last slots = max(max_window, 2) steps: step % slots.
  std::size_t stride_ = 0;
  std::vector<Budget> first_;            // [slots][stride], first budget that selects the page
  std::vector<float> mass_;              // [slots][stride]
  std::vector<double> total_;            // [slots]
  std::vector<std::int64_t> num_pages_;  // [slots]
  std::vector<double> oracle_;           // [slots][budgets]
  // Of the step.
  BudgetStep step_;
  std::vector<std::int64_t> pages_, in_previous_, unseen_, visits_, served_pages_;
  std::vector<double> recall_, served_recall_;
  std::vector<Budget> best_;        // [pages]
  std::vector<float> sorted_;       // masses, descending
  std::vector<double> gained_;      // [budgets + 1]
  std::vector<std::int64_t> held_;  // [budgets + 1]
};

}  // namespace retrosim
