// The slow truth beside HeadReplay: explicit sets S_t of every step, and every count straight from its definition.
#pragma once

#include <set>
#include <utility>
#include <vector>

#include "model/policy.h"
#include "traces/trace_reader.h"

namespace retrosim {

struct OracleStep {
  std::int64_t pages_loaded = 0;
  std::int64_t tokens_loaded = 0;
  std::int64_t in_previous_topk = 0;
  std::int64_t in_previous_nextk = 0;
  std::vector<std::int64_t> unseen;  // [max_window]
  std::vector<double> retro_recall;  // [max_window] or empty, of query t - (max_window - 1)
};

class ReplayOracle {
 public:
  ReplayOracle(const Policy& policy, int page_size, int max_window)
      : policy_(policy), page_size_(page_size), max_window_(max_window) {}

  OracleStep advance(const HeadRanking& ranking) {
    rankings_.push_back({ranking.position,
                         ranking.num_pages,
                         {ranking.pages.begin(), ranking.pages.end()},
                         {ranking.mass.begin(), ranking.mass.end()},
                         ranking.rest});
    std::vector<PageId> selected;
    policy_.select(ranking.ranked(), page_size_, selected);
    sets_.emplace_back(selected.begin(), selected.end());
    const std::size_t t = sets_.size() - 1;
    const std::set<PageId>& now = sets_[t];

    OracleStep step;
    step.unseen.assign(static_cast<std::size_t>(max_window_), 0);
    for (const PageId page : now) {
      ++step.pages_loaded;
      for (std::int64_t token = std::int64_t{page} * page_size_; token < (std::int64_t{page} + 1) * page_size_;
           ++token) {
        step.tokens_loaded += token <= ranking.position ? 1 : 0;
      }
      if (t == 0) continue;
      if (sets_[t - 1].contains(page)) {
        ++step.in_previous_topk;
      } else {
        const auto& before = rankings_[t - 1].pages;
        for (std::size_t i = 0; i < std::min(before.size(), 2 * sets_[t - 1].size()); ++i) {
          step.in_previous_nextk += before[i] == page ? 1 : 0;
        }
      }
    }
    for (std::size_t s = 1; s < static_cast<std::size_t>(max_window_) && s <= t; ++s) {
      step.unseen[s] = static_cast<std::int64_t>(unseen(t, s).size());
    }
    const auto later = static_cast<std::size_t>(max_window_ - 1);
    if (t >= later) step.retro_recall = recall(t - later, later);
    return step;
  }

  /// U_s = S_t minus (S_{t-s} u ... u S_{t-1}), without pages that begin after query t-s.
  std::set<PageId> unseen(std::size_t t, std::size_t s) const {
    std::set<PageId> result;
    for (const PageId page : sets_[t]) {
      bool seen = false;
      for (std::size_t u = t - s; u < t; ++u) seen = seen || sets_[u].contains(page);
      if (!seen && std::int64_t{page} * page_size_ <= rankings_[t - s].position) result.insert(page);
    }
    return result;
  }

  /// Share of query q's attention mass on S_q u ... u S_{q+n}, for n = 0..later.
  std::vector<double> recall(std::size_t q, std::size_t later) const {
    double total = rankings_[q].rest;
    for (const float mass : rankings_[q].mass) total += mass;
    std::vector<double> result;
    std::set<PageId> seen;
    for (std::size_t n = 0; n <= later; ++n) {
      seen.insert(sets_[q + n].begin(), sets_[q + n].end());
      double caught = 0;
      for (std::size_t i = 0; i < rankings_[q].pages.size(); ++i) {
        if (seen.contains(rankings_[q].pages[i])) caught += rankings_[q].mass[i];
      }
      result.push_back(total > 0 ? caught / total : 0);
    }
    return result;
  }

 private:
  struct Ranking {
    std::int64_t position, num_pages;
    std::vector<PageId> pages;
    std::vector<float> mass;
    float rest;
  };

  const Policy& policy_;
  int page_size_;
  int max_window_;
  std::vector<Ranking> rankings_;
  std::vector<std::set<PageId>> sets_;
};

}  // namespace retrosim
