#include "sim/des/fluid_resources.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace retrosim {
namespace {

constexpr double kTolerance = 1e-9;

PerResource ones() {
  PerResource all{};
  all.fill(1.0);
  return all;
}

}  // namespace

FluidResources::FluidResources(EventQueue& queue) : FluidResources(queue, ones()) {}

FluidResources::FluidResources(EventQueue& queue, const PerResource& capacity) : queue_(queue), capacity_(capacity) {
  for (const double c : capacity) {
    if (!(c > 0)) throw std::logic_error("fluid resources: a capacity must be positive");
  }
}

ActivityId FluidResources::start(const ActivitySpec& spec) {
  if (spec.alone < 0 || !(spec.weight > 0)) throw std::logic_error("fluid resources: bad duration or weight");
  for (const double share : spec.share) {
    if (!(share >= 0 && share <= 1)) throw std::logic_error("fluid resources: a share must lie in [0, 1]");
  }
  require_balanced();
  if (free_.empty()) {
    free_.push_back(static_cast<ActivityId>(activities_.size()));
    activities_.emplace_back();
  }
  const ActivityId id = free_.back();
  free_.pop_back();
  Activity& activity = activities_[id];
  activity.share = spec.share;
  activity.weight = spec.weight;
  activity.alone_ps = static_cast<double>(spec.alone);
  activity.left_ps = activity.alone_ps;
  activity.rate = 0;
  activity.since = queue_.now();
  activity.completion = spec.completion;
  activity.handle = {};
  active_.push_back(id);
  changed_ = true;
  changed_at_ = queue_.now();
  return id;
}

// Work done since the last change of rate.
void FluidResources::advance(Activity& activity) {
  const TimePs now = queue_.now();
  const double done = activity.rate * static_cast<double>(now - activity.since);
  activity.left_ps -= done;
  activity.since = now;
  for (std::size_t r = 0; r < kMaxResources; ++r) done_ps_[r] += activity.share[r] * done;
}

void FluidResources::complete(ActivityId id) {
  require_balanced();
  Activity& activity = activities_[id];
  advance(activity);
  // The completion was rounded up to a whole picosecond, so what is left is in (-rate, 0] but for rounding.
  if (std::abs(activity.left_ps) > activity.rate + kTolerance * activity.alone_ps) {
    throw std::logic_error("fluid resources: an activity completed with work left");
  }
  for (std::size_t r = 0; r < kMaxResources; ++r) asked_ps_[r] += activity.share[r] * activity.alone_ps;
  remove(id);
}

void FluidResources::abort(ActivityId id) {
  require_balanced();
  advance(activities_[id]);
  queue_.cancel(activities_[id].handle);
  remove(id);
}

void FluidResources::remove(ActivityId id) {
  active_.erase(std::find(active_.begin(), active_.end(), id));
  free_.push_back(id);
  changed_ = true;
  changed_at_ = queue_.now();
}

void FluidResources::rebalance() {
  require_balanced();
  if (!changed_) return;
  changed_ = false;
  requests_.resize(active_.size());
  for (std::size_t i = 0; i < active_.size(); ++i) {
    requests_[i].share = activities_[active_[i]].share;
    requests_[i].weight = activities_[active_[i]].weight;
  }
  allocate_max_min(requests_, capacity_);
  used_ = {};
  for (std::size_t i = 0; i < active_.size(); ++i) {
    Activity& activity = activities_[active_[i]];
    const double rate = requests_[i].rate;
    for (std::size_t r = 0; r < kMaxResources; ++r) used_[r] += activity.share[r] * rate;
    if (rate == activity.rate) continue;
    const bool fresh = activity.rate == 0;
    advance(activity);
    activity.rate = rate;
    // Rounded up: never before the work is done.
    const TimePs end = queue_.now() + static_cast<TimePs>(std::ceil(std::max(0.0, activity.left_ps) / rate));
    if (fresh) {
      activity.completion.time = end;
      activity.handle = queue_.push(activity.completion);
    } else {
      queue_.retime(activity.handle, end);
    }
  }
  for (std::size_t r = 0; r < kMaxResources; ++r) {
    if (used_[r] > capacity_[r] * (1 + kTolerance)) throw std::logic_error("fluid resources: used above capacity");
  }
}

void FluidResources::require_balanced() const {
  if (changed_ && queue_.now() != changed_at_) {
    throw std::logic_error("fluid resources: time moved on before the rates were divided anew");
  }
}

void FluidResources::clear() {
  active_.clear();
  free_.clear();
  activities_.clear();
  used_ = {};
  asked_ps_ = {};
  done_ps_ = {};
  changed_ = false;
}

}  // namespace retrosim
