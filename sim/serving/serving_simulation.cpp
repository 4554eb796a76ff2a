#include "sim/serving/serving_simulation.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>

#include "model/error.h"
#include "sim/des/event_queue.h"
#include "sim/serving/replica.h"
#include "sim/workload/random.h"

namespace retrosim {
namespace {

constexpr std::uint64_t kAuditSeed = 0;

class ServingSimulation {
 public:
  ServingSimulation(const ServingConfig& config, const GpuProfile& gpu, const Workload& workload,
                    const ServingOptions& options, StepCosts& costs)
      : config_(config), options_(options), blocks_(config, gpu.spec), costs_(costs) {
    if (workload.requests.empty()) throw InputError("", "workload", "no requests", "at least one");
    if (blocks_.total() < 1) {
      const ReplicaMemory& memory = blocks_.memory();
      throw InfeasibleError("does not fit: weights " + std::to_string(memory.weights) + " B, activations " +
                            std::to_string(memory.activations) + " B and runtime " + std::to_string(memory.runtime) +
                            " B leave nothing for the KV cache of the " + std::to_string(memory.usable) +
                            " B usable on each GPU");
    }
    run_.memory = blocks_.memory();
    run_.requests.reserve(workload.requests.size());
    for (const Request& request : workload.requests) {
      run_.requests.push_back(
          {.arrival = request.arrival, .input_tokens = request.input_tokens, .output_tokens = request.output_tokens});
    }
    const bool series = options.series;
    const ReplicaLog log{run_.requests, series ? &run_.gaps : nullptr, series ? &run_.seconds : nullptr, run_.totals,
                         finished_};
    replicas_.reserve(static_cast<std::size_t>(config.num_replicas));
    for (int i = 0; i < config.num_replicas; ++i) replicas_.emplace_back(i, config_, blocks_, costs_, log);
    ends_.resize(replicas_.size());
    waking_.resize(replicas_.size(), 0);
  }

  ServingRun run() {
    if (options_.closed_loop_clients > 0) {
      for (std::int64_t i = 0; i < options_.closed_loop_clients; ++i) send_next(0);
    } else {
      send_next(run_.requests.front().arrival);
    }
    while (!queue_.empty() && !run_.abandoned) handle(queue_.pop());
    if (run_.abandoned) return std::move(run_);
    check();
    audit();
    run_.makespan = queue_.now() - run_.requests.front().arrival;
    return std::move(run_);
  }

 private:
  enum Kind : std::uint16_t { kArrival, kStepEnds, kWake };  // also their phase at equal times

  void push(TimePs time, Kind kind, std::uint32_t subject) {
    const EventHandle handle =
        queue_.push({.time = time, .subject = subject, .kind = kind, .phase = static_cast<std::uint8_t>(kind)});
    if (kind == kStepEnds) ends_[subject] = handle;
  }

  void send_next(TimePs time) {
    if (next_ == run_.requests.size()) return;
    if (options_.closed_loop_clients > 0) run_.requests[next_].arrival = time;
    push(time, kArrival, static_cast<std::uint32_t>(next_++));
  }

  void handle(const Event& event) {
    switch (event.kind) {
      case kArrival: arrive(event.subject); break;
      case kStepEnds: end_step(event.subject); break;
      default: wake(event.subject); break;
    }
  }

  std::size_t route() {
    if (config_.routing == Routing::round_robin) return next_replica_++ % replicas_.size();
    std::size_t best = 0;
    for (std::size_t i = 1; i < replicas_.size(); ++i) {
      if (replicas_[i].load() < replicas_[best].load()) best = i;
    }
    return best;
  }

  void arrive(std::uint32_t request) {
    const TimePs now = queue_.now();
    if (options_.series) {
      const auto second = static_cast<std::size_t>(now / static_cast<TimePs>(kPsPerSecond));
      if (second >= run_.seconds.size()) run_.seconds.resize(second + 1);
      ++run_.seconds[second].arrivals;
    }
    const auto index = static_cast<std::uint32_t>(route());
    Replica& replica = replicas_[index];
    const bool accepted = replica.submit(request);
    if (options_.closed_loop_clients == 0) {
      if (next_ < run_.requests.size()) send_next(run_.requests[next_].arrival);
    } else if (!accepted) {
      send_next(now);
    }
    if (!accepted) return;
    if (replica.busy()) {
      queue_.retime(ends_[index], replica.cut(now));
    } else {
      wake_later(index);
    }
  }

  void wake_later(std::uint32_t replica) {
    if (waking_[replica] != 0) return;
    waking_[replica] = 1;
    push(queue_.now(), kWake, replica);
  }

  void wake(std::uint32_t index) {
    waking_[index] = 0;
    Replica& replica = replicas_[index];
    const TimePs end = replica.begin(queue_.now());
    if (end < 0) return;
    sample(replica.shape());
    push(end, kStepEnds, index);
  }

  void end_step(std::uint32_t index) {
    replicas_[index].complete();
    if (options_.series) record_gauges();
    if (options_.abandon) count_misses(*options_.abandon);
    if (options_.closed_loop_clients > 0) {
      for (std::size_t i = 0; i < finished_.size(); ++i) send_next(queue_.now());
    }
    finished_.clear();
    wake_later(index);
  }

  /// The last step that ends in a second leaves its figures there.
  void record_gauges() {
    const auto second = static_cast<std::size_t>(queue_.now() / static_cast<TimePs>(kPsPerSecond));
    SecondRecord& record = run_.seconds[second];
    record.running = record.waiting = record.kv_blocks_used = 0;
    for (const Replica& replica : replicas_) {
      record.running += replica.running();
      record.waiting += replica.waiting();
      record.kv_blocks_used += blocks_.total() - replica.free_blocks();
    }
  }

  void count_misses(const MissLimits& limits) {
    for (const std::uint32_t request : finished_) {
      const RequestRecord& record = run_.requests[request];
      if (limits.ttft_s && record.ttft_s() > *limits.ttft_s) ++ttft_misses_;
      if (limits.tpot_s && record.output_tokens > 1 && record.tpot_s() > *limits.tpot_s) ++tpot_misses_;
      if (limits.e2e_s && record.e2e_s() > *limits.e2e_s) ++e2e_misses_;
    }
    run_.abandoned = std::max({ttft_misses_, tpot_misses_, e2e_misses_}) > limits.allowed;
  }

  /// Reservoir of step shapes (Vitter's algorithm R).
  void sample(const StepShape& shape) {
    const auto capacity = static_cast<std::size_t>(options_.audited_steps);
    if (sampled_.size() < capacity) {
      sampled_.push_back(shape);
    } else if (capacity > 0) {
      RandomStream random(kAuditSeed, RandomPurpose::sample, begun_);
      const std::uint64_t place = random.next_u64() % (begun_ + 1);
      if (place < capacity) sampled_[place] = shape;
    }
    ++begun_;
  }

  void audit() {
    for (const StepShape& shape : sampled_) {
      const auto exact = static_cast<double>(costs_.exact(shape));
      const double error = std::abs(static_cast<double>(costs_.step(shape)) / exact - 1);
      run_.audit.mean_abs_error += error / static_cast<double>(sampled_.size());
      run_.audit.max_abs_error = std::max(run_.audit.max_abs_error, error);
    }
    run_.audit.steps = static_cast<std::int64_t>(sampled_.size());
  }

  /// Every request has ended once, and every block is free again.
  void check() const {
    for (const RequestRecord& record : run_.requests) {
      if (record.outcome == RequestOutcome::pending) throw std::logic_error("serving: a request never ended");
    }
    for (const Replica& replica : replicas_) {
      if (replica.free_blocks() != blocks_.total()) throw std::logic_error("serving: KV blocks are not conserved");
    }
  }

  const ServingConfig config_;
  const ServingOptions options_;
  KvBlocks blocks_;
  StepCosts& costs_;
  ServingRun run_;
  std::vector<std::uint32_t> finished_;
  std::vector<Replica> replicas_;
  EventQueue queue_;
  std::vector<EventHandle> ends_;
  std::vector<std::uint8_t> waking_;
  std::size_t next_ = 0;
  std::size_t next_replica_ = 0;
  std::vector<StepShape> sampled_;
  std::uint64_t begun_ = 0;
  std::int64_t ttft_misses_ = 0;
  std::int64_t tpot_misses_ = 0;
  std::int64_t e2e_misses_ = 0;
};

}  // namespace

ServingRun simulate_serving(const ServingConfig& config, const GpuProfile& gpu, const Workload& workload,
                            const ServingOptions& options) {
  StepCosts costs(config, std::make_shared<const Pricer>(gpu));
  return simulate_serving(config, gpu, workload, options, costs);
}

ServingRun simulate_serving(const ServingConfig& config, const GpuProfile& gpu, const Workload& workload,
                            const ServingOptions& options, StepCosts& costs) {
  return ServingSimulation(config, gpu, workload, options, costs).run();
}

}  // namespace retrosim
