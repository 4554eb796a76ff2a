// How long ago, and how many other pages ago, a selected page was last selected.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/policy.h"

namespace retrosim {

/// Counts over pages visited (a page of S_t is one visit). Histograms may be added.
struct ReuseHistogram {
  std::int64_t first_visits = 0;  // pages that were in no earlier recorded S
  /// [age]: visits whose page was last in S_{t-age}; [0] stays 0.
  std::vector<std::int64_t> age;
  /// [distance]: visits by stack distance in pages. With u the last step before t that selected the page, the distance
  /// is |S_u u S_{u+1} u ... u S_{t-1}|: a cache of that many pages that evicts the least recently selected pages, step
  /// by step, still holds it (Mattson et al. 1970; a step's pages are requested at once, so they count together).
  std::vector<std::int64_t> distance;

  void add(const ReuseHistogram& other);
  std::int64_t revisits() const;
  /// Share of all visits that miss an LRU cache of `capacity` pages; first visits miss.
  double miss_ratio(double capacity) const;
  /// Over revisits.
  double mean_age() const;
  double mean_distance() const;
};

/// One KV head. Every step's selection is given once, in order.
class ReuseTracker {
 public:
  /// `max_steps`: of the trace.
  explicit ReuseTracker(std::int64_t max_steps);

  /// S_t, no duplicates.
  void advance(std::span<const PageId> selected);

  /// Only visits of steps from this one on, counted from 0, go into the histogram.
  void count_from(std::int64_t step) { count_from_ = step; }
  const ReuseHistogram& histogram() const { return histogram_; }

 private:
  void move(std::int64_t step, int change);           // of pages last selected at `step`
  std::int64_t pages_since(std::int64_t step) const;  // last selected at `step` or later

  std::int64_t max_steps_;
  std::int64_t count_from_ = 0;
  std::int64_t step_ = 0;
  std::int64_t known_ = 0;          // pages selected at least once
  std::vector<std::int32_t> tree_;  // Fenwick tree over steps
  std::vector<std::int64_t> last_;  // [pages], step; -1: never
  ReuseHistogram histogram_;
};

}  // namespace retrosim
