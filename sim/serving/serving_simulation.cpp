#include "sim/serving/serving_simulation.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>

#include "model/error.h"
#include "sim/des/event_queue.h"
#include "sim/serving/replica.h"
#include "sim/serving/router.h"
#include "sim/workload/prompt_content.h"
#include "sim/workload/random.h"

namespace retrosim {
namespace {

constexpr std::uint64_t kAuditSeed = 0;
constexpr std::uint32_t kNobody = 0xFFFFFFFF;

class ServingSimulation {
 public:
  ServingSimulation(const ServingConfig& config, const GpuProfile& gpu, const Workload& workload,
                    const ServingOptions& options, StepCosts& costs)
      : config_(config),
        options_(options),
        workload_(workload),
        content_(workload),
        blocks_(config, gpu.spec),
        costs_(costs),
        router_(config_.routing, workload_, replicas_) {
    if (workload.requests.empty()) throw InputError("", "workload", "no requests", "at least one");
    if (blocks_.total() < 1) {
      const ReplicaMemory& memory = blocks_.memory();
      throw InfeasibleError("does not fit: weights " + std::to_string(memory.weights) + " B, activations " +
                            std::to_string(memory.activations) + " B and runtime " + std::to_string(memory.runtime) +
                            " B leave nothing for the KV cache of the " + std::to_string(memory.usable) +
                            " B usable on each GPU");
    }
    if (config.prefix_caching && !blocks_.linear()) {
      throw InputError("", "enable_prefix_caching", std::string(config.decode.policy->name()),
                       "a policy that keeps all KV: what it evicts depends on the queries, so that equal prompts leave "
                       "different caches");
    }
    if (config.routing == Routing::session_affinity && workload.sessions == 0) {
      throw InputError("", "routing", "session-affinity", "a workload with sessions");
    }
    run_.memory = blocks_.memory();
    run_.requests.reserve(workload.requests.size());
    for (const Request& request : workload.requests) {
      run_.requests.push_back(
          {.arrival = request.arrival, .input_tokens = request.input_tokens, .output_tokens = request.output_tokens});
    }
    follow_up_.assign(workload.sessions > 0 ? workload.requests.size() : 0, kNobody);
    for (std::size_t i = 0; i < workload.requests.size(); ++i) {
      const std::int32_t previous = workload.requests[i].previous;
      if (previous >= 0) follow_up_[static_cast<std::size_t>(previous)] = static_cast<std::uint32_t>(i);
    }
    const bool series = options.series;
    const ReplicaLog log{.requests = run_.requests,
                         .gaps = series ? &run_.gaps : nullptr,
                         .seconds = series ? &run_.seconds : nullptr,
                         .totals = run_.totals,
                         .finished = finished_,
                         .steps = options.timeline ? &run_.steps : nullptr,
                         .preemptions = options.timeline ? &run_.preemptions : nullptr};
    replicas_.reserve(static_cast<std::size_t>(config.num_replicas));
    for (int i = 0; i < config.num_replicas; ++i) {
      replicas_.emplace_back(i, config_, blocks_, costs_, log, &content_);
    }
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
    for (const Replica& replica : replicas_) run_.evicted_blocks += replica.evicted_blocks();
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

  /// The next request that waits for no other one.
  void send_next(TimePs time) {
    while (next_ < run_.requests.size() && workload_.requests[next_].previous >= 0) ++next_;
    if (next_ == run_.requests.size()) return;
    if (options_.closed_loop_clients > 0) run_.requests[next_].arrival = time;
    push(time, kArrival, static_cast<std::uint32_t>(next_++));
  }

  std::uint32_t follow_up_of(std::uint32_t request) const { return follow_up_.empty() ? kNobody : follow_up_[request]; }

  /// A request has ended: its session's next turn comes after the think time, else the client's next session.
  void go_on(std::uint32_t request) {
    const std::uint32_t next = follow_up_of(request);
    if (next != kNobody) {
      run_.requests[next].arrival = queue_.now() + workload_.requests[next].arrival;
      push(run_.requests[next].arrival, kArrival, next);
    } else if (options_.closed_loop_clients > 0) {
      send_next(queue_.now());
    }
  }

  /// Its later turns are longer still, and would be refused for the same reason.
  void refuse_follow_ups(std::uint32_t request) {
    for (std::uint32_t next = follow_up_of(request); next != kNobody; next = follow_up_of(next)) {
      run_.requests[next].arrival = queue_.now();
      run_.requests[next].outcome = run_.requests[request].outcome;
    }
  }

  void handle(const Event& event) {
    switch (event.kind) {
      case kArrival: arrive(event.subject); break;
      case kStepEnds: end_step(event.subject); break;
      default: wake(event.subject); break;
    }
  }

  void arrive(std::uint32_t request) {
    const TimePs now = queue_.now();
    if (options_.series) {
      const auto second = static_cast<std::size_t>(now / static_cast<TimePs>(kPsPerSecond));
      if (second >= run_.seconds.size()) run_.seconds.resize(second + 1);
      ++run_.seconds[second].arrivals;
    }
    const auto index = static_cast<std::uint32_t>(router_.route(request));
    Replica& replica = replicas_[index];
    const bool accepted = replica.submit(request);
    if (options_.closed_loop_clients == 0 && workload_.requests[request].previous < 0) {
      while (next_ < run_.requests.size() && workload_.requests[next_].previous >= 0) ++next_;
      if (next_ < run_.requests.size()) send_next(run_.requests[next_].arrival);
    } else if (options_.closed_loop_clients > 0 && !accepted) {
      send_next(now);
    }
    if (!accepted) {
      refuse_follow_ups(request);
      return;
    }
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
    if (options_.closed_loop_clients > 0 || workload_.sessions > 0) {
      for (const std::uint32_t request : finished_) go_on(request);
    }
    finished_.clear();
    if (options_.check_prefix_caches) replicas_[index].check();
    wake_later(index);
  }

  /// The last step that ends in a second leaves its figures there.
  void record_gauges() {
    const auto second = static_cast<std::size_t>(queue_.now() / static_cast<TimePs>(kPsPerSecond));
    for (; gauged_ < second; ++gauged_) {
      const SecondRecord& known = run_.seconds[gauged_];
      SecondRecord& next = run_.seconds[gauged_ + 1];
      next.running = known.running;
      next.waiting = known.waiting;
      next.kv_blocks_used = known.kv_blocks_used;
      next.kv_blocks_cached = known.kv_blocks_cached;
    }
    SecondRecord& record = run_.seconds[second];
    record.running = record.waiting = record.kv_blocks_used = record.kv_blocks_cached = 0;
    for (const Replica& replica : replicas_) {
      record.running += replica.running();
      record.waiting += replica.waiting();
      record.kv_blocks_used += blocks_.total() - replica.free_blocks();
      record.kv_blocks_cached += replica.cached_blocks();
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
  const Workload& workload_;
  const PromptContent content_;
  KvBlocks blocks_;
  StepCosts& costs_;
  ServingRun run_;
  std::vector<std::uint32_t> finished_;
  std::vector<Replica> replicas_;
  Router router_;
  EventQueue queue_;
  std::vector<EventHandle> ends_;
  std::vector<std::uint8_t> waking_;
  std::size_t next_ = 0;
  std::vector<std::uint32_t> follow_up_;  // [requests], where there are sessions: the next turn
  std::vector<StepShape> sampled_;
  std::uint64_t begun_ = 0;
  std::size_t gauged_ = 0;  // the last second that has gauges
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
