// What a user asks `serve` to simulate, and its resolution with every default filled in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "reports/simulation_request.h"
#include "sim/serving/serving_config.h"
#include "sim/serving/serving_metrics.h"
#include "sim/workload/request.h"
#include "traces/trace_reader.h"

namespace retrosim {

struct WorkloadRequest {
  std::string workload = "azure-conv";  // a length preset's name or a trace file
  std::string input_len;                // distribution instead of the preset's; empty: the preset's
  std::string output_len;
  std::optional<std::int64_t> num_requests;  // default 1000, of a trace file all
  std::optional<double> request_rate;        // requests/s; default 1, of a trace file its own
  double arrival_cv = 1;                     // 1: Poisson; else gamma
  std::string arrivals;                      // a preset whose published rate and burstiness are taken; empty: none
  std::string turns;                         // distribution of a session's turns; empty: single requests
  std::string think_time_ms;                 // distribution; default exponential:30000
  std::int64_t shared_prefix_len = 0;        // tokens that begin every session's prompts
  std::int64_t max_concurrency = 0;          // closed loop; 0: open
  std::uint64_t seed = 0;
};

struct ServingRequest {
  /// Model, GPU, policy, TP, dtypes; context, batch and steps are not used (the trace is replayed at the workload's
  /// mean context).
  SimulationRequest simulation;
  WorkloadRequest workload;
  int replicas = 1;
  std::string routing = "least-loaded";
  int max_num_seqs = 256;
  std::int64_t max_num_batched_tokens = 2048;
  std::int64_t max_model_len = 0;
  bool admit_partial_prompts = false;
  bool async_scheduling = false;
  bool cudagraph_padding = false;
  bool enable_prefix_caching = false;
  double gpu_memory_utilization = 0.9;
  std::optional<std::int64_t> activation_bytes;
  std::int64_t runtime_bytes = ServingConfig{}.runtime_bytes;
  std::int64_t driver_reserved_bytes = ServingConfig{}.driver_reserved_bytes;
  std::optional<std::int64_t> num_gpu_blocks_override;
  double step_overhead_us = 0;
  bool exact_steps = false;
  std::optional<double> slo_ttft_ms;
  std::optional<double> slo_tpot_ms;
  std::optional<double> slo_e2e_ms;
};

struct ResolvedServing {
  ResolvedSimulation simulation;  // of one decode step at the mean context
  ServingConfig config;
  Workload workload;
  std::uint64_t seed = 0;
  ServingOptions options;
  ServingSlo slo;
  std::string unseen_source;  // where config.unseen comes from
};

/// Throws InputError naming the flag, or the file and line of a trace.
Workload resolve_workload(const WorkloadRequest& request);
ResolvedServing resolve(const ServingRequest& request);

/// What a replayed trace says of a policy, budget and window: means over its steps and sparse layers.
struct ReplayedShare {
  UnseenShare unseen;      // zero for window 1, except what is recalled
  double mass_recall = 1;  // attention mass on the pages that a query sees, its window's later pages included
};
inline constexpr int kReplaySteps = 64;  // recorded steps behind a share

/// Requires a policy that selects by score. Throws InputError for a damaged trace.
ReplayedShare replayed_share_of(const ResolvedSimulation& simulation);
/// The same over an open trace.
ReplayedShare replayed_share_of(const ResolvedSimulation& simulation, const TraceReader& trace);

}  // namespace retrosim
