// Activities that stream through shared resources: HBM bandwidth, arithmetic units, links. Each activity has a duration
// alone and a share of every resource that it uses then; when the shares exceed a capacity, activities slow down
// max-min fairly (max_min.h), and their completions are re-timed.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/des/event_queue.h"
#include "sim/des/max_min.h"

namespace retrosim {

using ActivityId = std::uint32_t;

struct ActivitySpec {
  TimePs alone = 0;     // duration at rate 1, >= 0
  PerResource share{};  // of each resource's capacity while at rate 1, in [0, 1]
  double weight = 1;    // > 0
  // Tag of the event that announces the completion; its time is the simulation's business.
  Event completion = {};
};

/// Invariants, checked as it runs: no resource is used above its capacity (to 1e-9), and an activity has done its work
/// when it completes (to the picosecond that completions are rounded up to).
class FluidResources {
 public:
  /// `queue` must outlive this. Capacities are in units of what the shares are relative to: 1 unless part of a resource
  /// is withheld.
  explicit FluidResources(EventQueue& queue);
  FluidResources(EventQueue& queue, const PerResource& capacity);
  FluidResources(const FluidResources&) = delete;
  FluidResources& operator=(const FluidResources&) = delete;

  /// Begins an activity now. Its completion is in the queue after the next rebalance().
  /// Throws std::logic_error for a share outside [0, 1], a negative duration or a weight that is not positive.
  ActivityId start(const ActivitySpec& spec);

  /// Ends an activity whose completion event was just popped. Throws std::logic_error when work is left.
  void complete(ActivityId id);

  /// Ends an activity before its time and takes its completion out of the queue.
  void abort(ActivityId id);

  /// Divides the capacities anew and re-times the completions of activities whose rate changed. Call it once after all
  /// starts and ends of an instant, before time moves on.
  void rebalance();

  std::size_t active() const { return active_.size(); }
  /// Fraction of its speed alone at which the activity runs since the last rebalance().
  double rate(ActivityId id) const { return activities_[id].rate; }
  /// Use of a resource since the last rebalance(), in units of its capacity's unit.
  double used(std::size_t resource) const { return used_[resource]; }
  /// Picoseconds of full use of a resource that completed activities asked for, and that was delivered to all
  /// activities so far.
  double asked_ps(std::size_t resource) const { return asked_ps_[resource]; }
  double done_ps(std::size_t resource) const { return done_ps_[resource]; }

  /// Forgets all activities and sums; storage is kept. Goes with EventQueue::clear().
  void clear();

 private:
  struct Activity {
    PerResource share{};
    double weight = 1;
    double left_ps = 0;  // of the duration alone, at `since`
    double alone_ps = 0;
    double rate = 0;  // 0: not yet rebalanced
    TimePs since = 0;
    Event completion;
    EventHandle handle;
  };

  void advance(Activity& activity);
  void remove(ActivityId id);
  void require_balanced() const;

  EventQueue& queue_;
  PerResource capacity_;
  std::vector<Activity> activities_;
  std::vector<ActivityId> free_;
  std::vector<ActivityId> active_;  // in order of their start
  std::vector<RateRequest> requests_;
  PerResource used_{};
  PerResource asked_ps_{};
  PerResource done_ps_{};
  TimePs changed_at_ = 0;
  bool changed_ = false;  // starts or ends since the last rebalance()
};

}  // namespace retrosim
