// One step on one GPU: the operations of a step graph on their streams, over shared resources, in simulated time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/pricing.h"
#include "model/step_graph.h"
#include "sim/des/event_queue.h"
#include "sim/des/fluid_resources.h"

namespace retrosim {

/// What operations share, in the order of Price's shares.
enum class Resource : std::uint8_t { hbm, tensor_core, cuda_core, pcie_h2d, pcie_d2h, interconnect, host };
inline constexpr std::size_t kNumResources = 7;
static_assert(kNumResources <= kMaxResources);

/// From the moment an operation's dependencies and its place in the stream let it begin to its end.
struct OpTiming {
  TimePs start = 0;
  TimePs end = 0;
};

struct StepSchedule {
  TimePs latency = 0;         // from the launch of the step to the end of its last operation
  std::vector<OpTiming> ops;  // [graph.size()]
};

/// Simulates steps whose graphs have the same vertices, edges and streams. An operation begins when the operations it
/// depends on and the one before it on its stream have ended, `graph_node_s` later (at once when there are none), and
/// the first ones `graph_launch_s` after the launch of the step. It first passes its fixed latency, during which it
/// holds no resource, then its body, which shares the resources max-min fairly with the bodies on other streams.
///
/// Without a CUDA graph the host issues the operations one by one in the order of the graph's vertices, `host_issue_s`
/// each, and none begins before it was issued. The host does the work of Stream::host itself, so that what follows such
/// an operation in that order is issued from its end on.
///
/// On a single stream nothing is shared and the schedule is a running sum: latency = graph_launch_s + sum of latencies
/// + gaps, exactly (each term rounded to a picosecond). That case is computed directly, unless `always_queue` asks for
/// the event queue, with equal results.
class StepSimulator {
 public:
  /// `host_issue_s` 0: one CUDA graph.
  StepSimulator(const StepGraph& graph, double graph_launch_s, double graph_node_s, bool always_queue = false,
                double host_issue_s = 0);
  StepSimulator(const StepSimulator&) = delete;
  StepSimulator& operator=(const StepSimulator&) = delete;

  /// One price per vertex. The result is valid until the next run. Throws std::logic_error when the number of prices is
  /// wrong or a share lies below 0 (above 1 by rounding is taken as 1).
  const StepSchedule& run(std::span<const Price> prices);

  bool single_stream() const { return single_stream_; }

 private:
  struct Duration {
    TimePs fixed = 0;
    TimePs body = 0;
  };
  enum EventKind : std::uint16_t { kBodyBegins, kOpEnds };

  static Duration duration_of(const Price& price);
  void run_serial(std::span<const Price> prices);
  void run_events(std::span<const Price> prices);
  TimePs issued(std::uint32_t op) const;
  void begin(std::uint32_t op, TimePs start, const Price& price);
  void begin_body(std::uint32_t op, const Price& price);
  void end(std::uint32_t op, std::span<const Price> prices);
  void check_conservation() const;

  TimePs graph_launch_;
  TimePs graph_node_;
  TimePs host_issue_;
  bool single_stream_ = true;
  bool always_queue_;
  // Edges of the graph and the order of the streams: successors of v are successors_[first_[v]] ..
  // successors_[first_[v+1]-1].
  std::vector<std::uint32_t> first_;
  std::vector<std::uint32_t> successors_;
  std::vector<std::uint32_t> num_predecessors_;
  std::vector<std::int64_t> host_op_before_;  // the latest operation on Stream::host before each; -1: none
  // State of a run.
  std::vector<std::uint32_t> waits_for_;
  std::vector<TimePs> body_;
  std::vector<ActivityId> activity_;
  EventQueue queue_;
  FluidResources resources_;
  StepSchedule schedule_;
};

}  // namespace retrosim
