#include "sim/step_simulator.h"

#include <algorithm>
#include <array>
#include <boost/graph/graph_traits.hpp>
#include <boost/range/iterator_range.hpp>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace retrosim {
namespace {

PerResource shares_of(const Price& price) {
  PerResource share{price.hbm_share,      price.tensor_share,       price.cuda_share, price.pcie_h2d_share,
                    price.pcie_d2h_share, price.interconnect_share, price.host_share};
  for (double& s : share) s = std::min(s, 1.0);
  return share;
}

}  // namespace

StepSimulator::StepSimulator(const StepGraph& graph, double graph_launch_s, double graph_node_s, bool always_queue,
                             double host_issue_s)
    : graph_launch_(ps_from_seconds(graph_launch_s)),
      graph_node_(ps_from_seconds(graph_node_s)),
      host_issue_(ps_from_seconds(host_issue_s)),
      always_queue_(always_queue),
      resources_(queue_) {
  const std::size_t size = graph.size();
  std::vector<std::pair<std::uint32_t, std::uint32_t>> edges;
  std::array<std::int64_t, kNumStreams> last{};
  last.fill(-1);
  host_op_before_.assign(size, -1);
  for (std::uint32_t v = 0; v < size; ++v) {
    const std::int64_t host_op = last[static_cast<std::size_t>(Stream::host)];
    host_op_before_[v] = host_op;
    if (host_issue_ > 0 && host_op >= 0) edges.emplace_back(static_cast<std::uint32_t>(host_op), v);
    for (const auto& edge : boost::make_iterator_range(boost::in_edges(v, graph.boost()))) {
      edges.emplace_back(static_cast<std::uint32_t>(boost::source(edge, graph.boost())), v);
    }
    std::int64_t& before = last[static_cast<std::size_t>(graph.op(v).stream)];
    if (before >= 0) edges.emplace_back(static_cast<std::uint32_t>(before), v);
    before = v;
    single_stream_ &= graph.op(v).stream == graph.op(0).stream;
  }
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  first_.assign(size + 1, 0);
  num_predecessors_.assign(size, 0);
  for (const auto& [from, to] : edges) {
    ++first_[from + 1];
    ++num_predecessors_[to];
    successors_.push_back(to);
  }
  for (std::size_t v = 0; v < size; ++v) first_[v + 1] += first_[v];
  waits_for_.resize(size);
  body_.resize(size);
  activity_.resize(size);
  schedule_.ops.resize(size);
}

// The whole latency is rounded, not its two parts, so that an operation takes the picoseconds nearest to its price.
StepSimulator::Duration StepSimulator::duration_of(const Price& price) {
  const TimePs whole = ps_from_seconds(price.latency_s());
  const TimePs fixed = ps_from_seconds(price.fixed_s);
  return {fixed, whole - fixed};
}

const StepSchedule& StepSimulator::run(std::span<const Price> prices) {
  if (prices.size() != schedule_.ops.size()) throw std::logic_error("step simulator: one price per operation expected");
  schedule_.latency = 0;
  if (single_stream_ && !always_queue_) {
    run_serial(prices);
  } else {
    run_events(prices);
  }
  return schedule_;
}

void StepSimulator::run_serial(std::span<const Price> prices) {
  TimePs start = graph_launch_;
  for (std::size_t v = 0; v < prices.size(); ++v) {
    start = std::max(start, static_cast<TimePs>(v + 1) * host_issue_);
    const TimePs end = start + ps_from_seconds(prices[v].latency_s());
    schedule_.ops[v] = {start, end};
    schedule_.latency = end;
    start = end + graph_node_;
  }
}

void StepSimulator::run_events(std::span<const Price> prices) {
  queue_.clear();
  resources_.clear();
  std::copy(num_predecessors_.begin(), num_predecessors_.end(), waits_for_.begin());
  for (std::uint32_t v = 0; v < prices.size(); ++v) {
    if (waits_for_[v] == 0) begin(v, graph_launch_, prices[v]);
  }
  while (!queue_.empty()) {
    const TimePs now = queue_.next_time();
    do {
      const Event event = queue_.pop();
      if (event.kind == kBodyBegins) {
        begin_body(event.subject, prices[event.subject]);
      } else {
        end(event.subject, prices);
      }
    } while (queue_.next_time() == now);
    resources_.rebalance();
  }
  check_conservation();
}

/// When the host has issued `op`; it must have ended its own operation before it.
TimePs StepSimulator::issued(std::uint32_t op) const {
  const std::int64_t host_op = host_op_before_[op];
  const TimePs from = host_op >= 0 ? schedule_.ops[static_cast<std::size_t>(host_op)].end : 0;
  return from + (static_cast<TimePs>(op) - host_op) * host_issue_;
}

void StepSimulator::begin(std::uint32_t op, TimePs start, const Price& price) {
  if (host_issue_ > 0) start = std::max(start, issued(op));
  const Duration duration = duration_of(price);
  schedule_.ops[op].start = start;
  body_[op] = duration.body;
  const EventKind next = duration.body > 0 ? kBodyBegins : kOpEnds;
  queue_.push({.time = start + duration.fixed, .subject = op, .kind = next});
}

void StepSimulator::begin_body(std::uint32_t op, const Price& price) {
  activity_[op] = resources_.start(
      {.alone = body_[op], .share = shares_of(price), .completion = {.time = 0, .subject = op, .kind = kOpEnds}});
}

void StepSimulator::end(std::uint32_t op, std::span<const Price> prices) {
  if (body_[op] > 0) resources_.complete(activity_[op]);
  const TimePs now = queue_.now();
  schedule_.ops[op].end = now;
  schedule_.latency = now;
  for (std::uint32_t i = first_[op]; i < first_[op + 1]; ++i) {
    const std::uint32_t next = successors_[i];
    if (--waits_for_[next] == 0) begin(next, now + graph_node_, prices[next]);
  }
}

// Work done on a resource = work asked, but for the picosecond to which each completion is rounded up.
void StepSimulator::check_conservation() const {
  const double rounding = static_cast<double>(schedule_.ops.size());
  for (std::size_t r = 0; r < kNumResources; ++r) {
    const double asked = resources_.asked_ps(r);
    if (!(std::abs(resources_.done_ps(r) - asked) <= rounding + 1e-9 * asked)) {
      throw std::logic_error("step simulator: work done on a resource differs from the work asked");
    }
  }
}

}  // namespace retrosim
