// From a decode configuration and a page demand to predicted steps: builds the step graph of every step, prices it and
// runs it through the discrete-event simulation.
#pragma once

#include <cstdint>
#include <vector>

#include "model/decode_config.h"
#include "model/gpu_profile.h"
#include "sim/decode_simulation.h"
#include "sim/timeline.h"

namespace retrosim {

/// Means over the simulated steps; bytes and FLOPs are of one GPU of the tensor-parallel group. Percentiles are by
/// nearest rank (percentile.h).
struct StepSummary {
  double latency_us_mean = 0;
  double latency_us_p50 = 0;
  double latency_us_p99 = 0;
  double kv_read_bytes = 0;
  double summary_read_bytes = 0;
  double weight_read_bytes = 0;
  double output_cache_read_bytes = 0;
  double other_read_bytes = 0;
  double hbm_read_bytes = 0;  // the five above
  double kv_write_bytes = 0;
  double hbm_write_bytes = 0;
  double flops = 0;
  double unseen_pages_mean = 0;  // sum_s |U_s| per sequence, sparse layer and KV head
  double output_cache_state_bytes = 0;
  double recalled_pages_mean = 0;  // from host memory, per sequence, sparse layer and KV head
  double host_to_device_bytes = 0;
  double device_to_host_bytes = 0;
  double host_memory_bytes = 0;  // read or written by the CPU and by copies
};

struct SimulationResult {
  StepSummary step;
  std::vector<double> step_latency_us;  // every step, in order
  std::vector<OpRecord> ops;            // of the first step
};

/// Runs one simulation per element of `demand`. Throws InputError for an impossible configuration.
SimulationResult simulate_decode(const DecodeConfig& config, const GpuProfile& gpu,
                                 const std::vector<StepDemand>& demand);

/// The summary alone, over a simulation of `config` that may have run other configurations before.
StepSummary summarise_steps(const DecodeConfig& config, DecodeSimulation& simulation,
                            const std::vector<StepDemand>& demand);

/// Bytes of the output cache of `config`: values and log-sum-exps of w-1 rows in every sparse layer and above
/// (method.md, "State").
std::int64_t output_cache_state_bytes(const DecodeConfig& config);

}  // namespace retrosim
