#include "sim/simulate.h"

#include <utility>

#include "model/error.h"
#include "sim/decode_simulation.h"
#include "sim/percentile.h"

namespace retrosim {
namespace {

/// Layers whose older rows have an entry in the output cache.
std::int64_t layers_with_older_rows(const DecodeConfig& config) {
  std::int64_t count = 0;
  for (int layer = 0; layer < config.llm.num_layers; ++layer) count += config.rows_per_sequence(layer) > 1 ? 1 : 0;
  return count;
}

struct PageCounts {
  double unseen = 0;
  double recalled = 0;
};

/// Sum over s of |U_s|, and pages recalled, per sequence, sparse layer and KV head.
PageCounts page_counts(const DecodeConfig& config, const StepDemand& demand) {
  std::int64_t visits = 0;
  std::int64_t recalled = 0;
  std::int64_t sparse_layers = 0;
  for (int layer = 0; layer < config.llm.num_layers; ++layer) {
    if (!config.is_sparse(layer)) continue;
    ++sparse_layers;
    recalled += demand.layers[static_cast<std::size_t>(layer)].recalled_pages;
    if (config.rows_per_sequence(layer) > 1) visits += demand.layers[static_cast<std::size_t>(layer)].unseen_visits;
  }
  if (sparse_layers == 0) return {};
  const auto heads = static_cast<double>(sparse_layers * config.batch * config.llm.num_kv_heads);
  return {static_cast<double>(visits) / heads, static_cast<double>(recalled) / heads};
}

/// Latencies of the steps into `latencies`, operations of the first into `ops` where asked for.
StepSummary run_steps(const DecodeConfig& config, DecodeSimulation& simulation, const std::vector<StepDemand>& demand,
                      std::vector<double>& latencies, std::vector<OpRecord>* ops) {
  if (demand.empty()) throw InputError("", "steps", "0", "at least 1 step");
  // Sums over the steps.
  TimePs latency = 0;
  Traffic bytes;
  double flops = 0;
  double unseen = 0;
  double recalled = 0;
  for (const StepDemand& asked : demand) {
    const SimulatedStep& step = simulation.step(asked);
    if (ops != nullptr && latencies.empty()) *ops = simulation.timeline().ops;
    latencies.push_back(us_from_ps(step.latency));
    latency += step.latency;
    bytes += step.traffic;
    flops += step.flops;
    const PageCounts pages = page_counts(config, asked);
    unseen += pages.unseen;
    recalled += pages.recalled;
  }
  const auto steps = static_cast<double>(demand.size());
  const auto per_step = [steps](std::int64_t sum) { return static_cast<double>(sum) / steps; };
  StepSummary mean;
  mean.latency_us_mean = us_from_ps(latency) / steps;
  mean.flops = flops / steps;
  mean.unseen_pages_mean = unseen / steps;
  mean.recalled_pages_mean = recalled / steps;
  mean.host_to_device_bytes = per_step(bytes.host_to_device);
  mean.device_to_host_bytes = per_step(bytes.device_to_host);
  mean.host_memory_bytes = per_step(bytes.host_memory);
  mean.latency_us_p50 = percentile(latencies, 0.50);
  mean.latency_us_p99 = percentile(latencies, 0.99);
  mean.kv_read_bytes = per_step(bytes.kv_read);
  mean.summary_read_bytes = per_step(bytes.summary_read);
  mean.weight_read_bytes = per_step(bytes.weight_read);
  mean.output_cache_read_bytes = per_step(bytes.output_cache_read);
  mean.other_read_bytes = per_step(bytes.other_read);
  mean.hbm_read_bytes = per_step(bytes.hbm_read());
  mean.kv_write_bytes = per_step(bytes.kv_write);
  mean.hbm_write_bytes = per_step(bytes.hbm_write());
  mean.output_cache_state_bytes = static_cast<double>(output_cache_state_bytes(config));
  return mean;
}

}  // namespace

std::int64_t output_cache_state_bytes(const DecodeConfig& config) {
  const std::int64_t heads = config.llm.num_q_heads / config.tensor_parallel_size;
  const std::int64_t entry = heads * (bytes_of(config.output_cache_dtype, config.llm.head_dim) + 4);
  return (config.window - 1) * config.batch * layers_with_older_rows(config) * entry;
}

StepSummary summarise_steps(const DecodeConfig& config, DecodeSimulation& simulation,
                            const std::vector<StepDemand>& demand) {
  std::vector<double> latencies;
  latencies.reserve(demand.size());
  return run_steps(config, simulation, demand, latencies, nullptr);
}

SimulationResult simulate_decode(const DecodeConfig& config, const GpuProfile& gpu,
                                 const std::vector<StepDemand>& demand) {
  DecodeSimulation simulation(config, gpu);
  SimulationResult result;
  result.step = run_steps(config, simulation, demand, result.step_latency_us, &result.ops);
  return result;
}

}  // namespace retrosim
