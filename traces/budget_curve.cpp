#include "traces/budget_curve.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>

#include "model/decode_config.h"
#include "model/error.h"
#include "traces/total_mass.h"

namespace retrosim {

BudgetCurve::BudgetCurve(std::vector<std::shared_ptr<const Policy>> policies, std::vector<int> windows, int page_size)
    : policies_(std::move(policies)), windows_(std::move(windows)), page_size_(page_size) {
  if (policies_.empty() || policies_.size() > 60000) throw std::invalid_argument("1 to 60000 budgets");
  if (page_size < 1) throw std::invalid_argument("page_size below 1");
  if (windows_.empty() || windows_.front() < 1 || windows_.back() > kMaxWindow ||
      !std::is_sorted(windows_.begin(), windows_.end())) {
    throw std::invalid_argument("windows must ascend in [1, kMaxWindow]");
  }
  max_window_ = static_cast<std::size_t>(windows_.back());
  slots_ = std::max<std::size_t>(max_window_, 2);
  const std::size_t budgets = policies_.size();
  total_.resize(slots_);
  num_pages_.resize(slots_);
  oracle_.resize(slots_ * budgets);
  pages_.resize(budgets);
  in_previous_.resize(budgets + 1);
  unseen_.resize(max_window_ * (budgets + 1));
  visits_.resize(windows_.size() * budgets);
  recall_.resize(windows_.size() * budgets);
  served_recall_.resize(windows_.size() * budgets);
  served_pages_.resize(windows_.size() * budgets);
  gained_.resize(budgets + 1);
  held_.resize(budgets + 1);
}

void BudgetCurve::place(const HeadRanking& ranking) {
  const auto pages = static_cast<std::size_t>(ranking.num_pages);
  const auto none = static_cast<Budget>(policies_.size());
  if (pages > stride_) {
    const std::size_t stride = pages + pages / 2 + 64;
    std::vector<Budget> first(slots_ * stride, none);
    std::vector<float> mass(slots_ * stride);
    for (std::size_t row = 0; row < slots_; ++row) {
      std::copy_n(first_.data() + row * stride_, stride_, first.data() + row * stride);
      std::copy_n(mass_.data() + row * stride_, stride_, mass.data() + row * stride);
    }
    first_.swap(first);
    mass_.swap(mass);
    stride_ = stride;
  }
  const std::size_t slot = static_cast<std::size_t>(num_steps_) % slots_;
  Budget* first = first_.data() + slot * stride_;
  float* mass = mass_.data() + slot * stride_;
  std::fill_n(first, stride_, none);
  std::fill_n(mass, pages, 0.0F);
  for (std::size_t b = 0; b < policies_.size(); ++b) {
    pages_[b] = policies_[b]->pages_selected(ranking.num_pages, page_size_);
    if (b > 0 && pages_[b] < pages_[b - 1]) throw std::invalid_argument("budgets must ascend");
  }
  const auto open = static_cast<PageId>(pages - 1);
  first[open] = 0;
  std::int64_t rank = 1;  // the open page is the first
  std::size_t budget = 0;
  for (std::size_t i = 0; i < ranking.pages.size(); ++i) {
    const PageId page = ranking.pages[i];
    mass[page] = ranking.mass[i];
    if (page == open) continue;
    while (budget < policies_.size() && pages_[budget] <= rank) ++budget;
    first[page] = static_cast<Budget>(budget);
    ++rank;
  }
  if (rank < pages_.back()) {
    throw InputError("", "budget", std::to_string(pages_.back()) + " pages",
                     "at most the " + std::to_string(ranking.pages.size()) + " ranked pages that the trace recorded");
  }
  total_[slot] = total_mass(ranking);
  num_pages_[slot] = ranking.num_pages;
  sorted_.assign(ranking.mass.begin(), ranking.mass.end());
  std::sort(sorted_.begin(), sorted_.end(), std::greater<>());
  double caught = 0;
  std::size_t taken = 0;
  for (std::size_t b = 0; b < policies_.size(); ++b) {
    for (; taken < std::min(static_cast<std::size_t>(pages_[b]), sorted_.size()); ++taken) caught += sorted_[taken];
    oracle_[slot * policies_.size() + b] = caught;
  }
}

void BudgetCurve::count_pages(const HeadRanking& ranking) {
  const std::size_t budgets = policies_.size();
  const Budget* now = first_.data() + static_cast<std::size_t>(num_steps_) % slots_ * stride_;
  const auto oldest = static_cast<std::size_t>(std::min<std::int64_t>(num_steps_, windows_.back() - 1));
  std::fill(unseen_.begin(), unseen_.end(), 0);
  std::fill(in_previous_.begin(), in_previous_.end(), 0);
  for (std::size_t page = 0; page < static_cast<std::size_t>(ranking.num_pages); ++page) {
    const Budget from = now[page];
    if (from == budgets) continue;
    const std::int64_t newest_token = ranking.position - static_cast<std::int64_t>(page) * page_size_;
    const std::size_t reach = std::min(oldest, static_cast<std::size_t>(newest_token));
    auto best = static_cast<Budget>(budgets);
    for (std::size_t s = 1; s <= std::max<std::size_t>(reach, num_steps_ > 0 ? 1 : 0); ++s) {
      const std::size_t before = (static_cast<std::size_t>(num_steps_) - s) % slots_;
      best = std::min(best, first_[before * stride_ + page]);
      if (s == 1) ++in_previous_[std::max(from, best)];
      if (best <= from || s > reach) break;
      ++unseen_[s * (budgets + 1) + from];
      --unseen_[s * (budgets + 1) + best];
    }
  }
  std::partial_sum(in_previous_.begin(), in_previous_.end(), in_previous_.begin());
  for (std::size_t b = 0; b < budgets; ++b) {
    std::int64_t visits = 0;
    std::size_t w = 0;
    for (std::size_t s = 0; s < max_window_; ++s) {
      std::int64_t& unseen = unseen_[s * (budgets + 1) + b];
      if (b > 0) unseen += unseen_[s * (budgets + 1) + b - 1];
      visits += unseen;
      while (w < windows_.size() && static_cast<std::size_t>(windows_[w]) == s + 1) visits_[w++ * budgets + b] = visits;
    }
  }
}

/// Of `query`, over the selections of the steps after it, or those before it.
void BudgetCurve::recall_of(std::int64_t query, bool later) {
  const std::size_t budgets = policies_.size();
  const std::size_t slot = static_cast<std::size_t>(query) % slots_;
  const float* mass = mass_.data() + slot * stride_;
  const auto pages = static_cast<std::size_t>(num_pages_[slot]);
  best_.assign(pages, static_cast<Budget>(budgets));
  std::size_t w = 0;
  for (std::size_t n = 0; n < max_window_; ++n) {
    const auto step =
        static_cast<std::size_t>(later ? query + static_cast<std::int64_t>(n) : query - static_cast<std::int64_t>(n));
    const Budget* first = first_.data() + step % slots_ * stride_;
    for (std::size_t page = 0; page < pages; ++page) best_[page] = std::min(best_[page], first[page]);
    if (static_cast<std::size_t>(windows_[w]) != n + 1) continue;
    std::fill(gained_.begin(), gained_.end(), 0.0);
    std::fill(held_.begin(), held_.end(), 0);
    for (std::size_t page = 0; page < pages; ++page) {
      gained_[best_[page]] += mass[page];
      ++held_[best_[page]];
    }
    std::partial_sum(gained_.begin(), gained_.end(), gained_.begin());
    std::partial_sum(held_.begin(), held_.end(), held_.begin());
    for (; w < windows_.size() && static_cast<std::size_t>(windows_[w]) == n + 1; ++w) {
      std::vector<double>& recall = later ? recall_ : served_recall_;
      for (std::size_t b = 0; b < budgets; ++b) {
        recall[w * budgets + b] = total_[slot] > 0 ? gained_[b] / total_[slot] : 0.0;
        if (!later) served_pages_[w * budgets + b] = held_[b];
      }
    }
    if (w == windows_.size()) break;
  }
}

const BudgetStep& BudgetCurve::advance(const HeadRanking& ranking) {
  place(ranking);
  count_pages(ranking);
  step_ = {.pages = pages_,
           .in_previous = std::span<const std::int64_t>(in_previous_).first(policies_.size()),
           .unseen_visits = visits_,
           .recall = {},
           .oracle_recall = {},
           .served_recall = {},
           .served_pages = {}};
  const std::int64_t query = num_steps_ - static_cast<std::int64_t>(max_window_ - 1);
  if (query >= 0) {
    recall_of(query, true);
    recall_of(num_steps_, false);
    const std::size_t slot = static_cast<std::size_t>(query) % slots_;
    double* oracle = oracle_.data() + slot * policies_.size();
    for (std::size_t b = 0; b < policies_.size(); ++b) oracle[b] = total_[slot] > 0 ? oracle[b] / total_[slot] : 0.0;
    step_.recall = recall_;
    step_.oracle_recall = {oracle, policies_.size()};
    step_.served_recall = served_recall_;
    step_.served_pages = served_pages_;
  }
  ++num_steps_;
  return step_;
}

}  // namespace retrosim
