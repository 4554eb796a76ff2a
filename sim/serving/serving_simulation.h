// Discrete-event simulation of replicas that serve a workload.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/serving/kv_blocks.h"
#include "sim/serving/serving_config.h"
#include "sim/serving/serving_log.h"
#include "sim/serving/step_costs.h"
#include "sim/workload/request.h"

namespace retrosim {

/// How far the latencies that were used lie from those of the step graph, on steps drawn from the run.
struct StepAudit {
  std::int64_t steps = 0;  // compared
  double mean_abs_error = 0;
  double max_abs_error = 0;
};

struct ServingRun {
  std::vector<RequestRecord> requests;  // in the order of the workload
  std::vector<SecondRecord> seconds;
  DurationHistogram gaps;
  std::vector<StepRecord> steps;              // in the order of their ends; with ServingOptions::timeline
  std::vector<PreemptionRecord> preemptions;  // in the order of time; with ServingOptions::timeline
  ServingTotals totals;
  ReplicaMemory memory;
  StepAudit audit;
  std::int64_t evicted_blocks = 0;  // cached prefixes that had to go
  TimePs makespan = 0;              // from the first arrival to the end of the last step
  bool abandoned = false;           // ended by ServingOptions::abandon: some requests are still pending
};

/// Lets a simulation end as soon as so many requests have missed a limit that its percentile cannot be met any more.
struct MissLimits {
  std::optional<double> ttft_s;
  std::optional<double> tpot_s;
  std::optional<double> e2e_s;
  std::int64_t allowed = 0;  // misses of each limit
};

struct ServingOptions {
  /// 0: requests come when the workload says. Else that many clients send the workload's requests one after another: a
  /// client's next request arrives when its last one has ended; arrival times are not used. With sessions a client goes
  /// on with its session, after the think times, before it takes up the next.
  std::int64_t closed_loop_clients = 0;
  std::int64_t audited_steps = 256;
  /// Checks the prefix caches after every step: for tests.
  bool check_prefix_caches = false;
  /// False leaves out ServingRun's seconds and gaps, which cost time per step and per second.
  bool series = true;
  /// Keeps ServingRun's steps and preemptions.
  bool timeline = false;
  std::optional<MissLimits> abandon = {};
};

/// Runs until every request has ended. Throws InfeasibleError when the model leaves no memory for KV blocks, InputError
/// for an impossible configuration.
ServingRun simulate_serving(const ServingConfig& config, const GpuProfile& gpu, const Workload& workload,
                            const ServingOptions& options = {});
/// The same with step latencies that earlier runs of the same configuration and GPU have worked out.
ServingRun simulate_serving(const ServingConfig& config, const GpuProfile& gpu, const Workload& workload,
                            const ServingOptions& options, StepCosts& costs);

}  // namespace retrosim
