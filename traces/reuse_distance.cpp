#include "traces/reuse_distance.h"

#include <algorithm>
#include <stdexcept>

namespace retrosim {
namespace {

void add_counts(std::vector<std::int64_t>& to, const std::vector<std::int64_t>& from) {
  if (to.size() < from.size()) to.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) to[i] += from[i];
}

void count(std::vector<std::int64_t>& histogram, std::int64_t value) {
  const auto at = static_cast<std::size_t>(value);
  if (histogram.size() <= at) histogram.resize(at + 1);
  ++histogram[at];
}

double mean_of(const std::vector<std::int64_t>& histogram) {
  double sum = 0;
  double visits = 0;
  for (std::size_t i = 0; i < histogram.size(); ++i) {
    sum += static_cast<double>(i) * static_cast<double>(histogram[i]);
    visits += static_cast<double>(histogram[i]);
  }
  return visits > 0 ? sum / visits : 0;
}

}  // namespace

void ReuseHistogram::add(const ReuseHistogram& other) {
  first_visits += other.first_visits;
  add_counts(age, other.age);
  add_counts(distance, other.distance);
}

std::int64_t ReuseHistogram::revisits() const {
  std::int64_t sum = 0;
  for (const std::int64_t visits : age) sum += visits;
  return sum;
}

double ReuseHistogram::miss_ratio(double capacity) const {
  std::int64_t missed = first_visits;
  std::int64_t visits = first_visits;
  for (std::size_t d = 0; d < distance.size(); ++d) {
    visits += distance[d];
    if (static_cast<double>(d) > capacity) missed += distance[d];
  }
  return visits > 0 ? static_cast<double>(missed) / static_cast<double>(visits) : 0;
}

double ReuseHistogram::mean_age() const { return mean_of(age); }
double ReuseHistogram::mean_distance() const { return mean_of(distance); }

ReuseTracker::ReuseTracker(std::int64_t max_steps)
    : max_steps_(max_steps), tree_(static_cast<std::size_t>(max_steps) + 1) {}

void ReuseTracker::move(std::int64_t step, int change) {
  for (std::int64_t i = step + 1; i <= max_steps_; i += i & -i) tree_[static_cast<std::size_t>(i)] += change;
}

std::int64_t ReuseTracker::pages_since(std::int64_t step) const {
  std::int64_t before = 0;
  for (std::int64_t i = step; i > 0; i -= i & -i) before += tree_[static_cast<std::size_t>(i)];
  return known_ - before;
}

void ReuseTracker::advance(std::span<const PageId> selected) {
  if (step_ >= max_steps_) throw std::invalid_argument("more steps than were announced");
  const bool counted = step_ >= count_from_;
  // All distances before any page moves: the step's pages are requested at once.
  for (const PageId page : selected) {
    if (page >= last_.size()) last_.resize(page + std::size_t{64}, -1);
    if (!counted) continue;
    const std::int64_t last = last_[page];
    if (last < 0) {
      ++histogram_.first_visits;
    } else {
      count(histogram_.age, step_ - last);
      count(histogram_.distance, pages_since(last));
    }
  }
  for (const PageId page : selected) {
    if (last_[page] >= 0) {
      move(last_[page], -1);
    } else {
      ++known_;
    }
    last_[page] = step_;
    move(step_, 1);
  }
  ++step_;
}

}  // namespace retrosim
