#include "reports/simulation_run.h"

#include <algorithm>

#include "reports/sample_trace.h"

namespace retrosim {
namespace {

/// Dense attention over the contexts of `steps`.
std::vector<StepDemand> dense_demand(DecodeConfig full, const std::vector<StepDemand>& steps) {
  std::vector<StepDemand> dense;
  dense.reserve(steps.size());
  for (const StepDemand& step : steps) {
    if (!dense.empty() && dense.back().context == step.context) {
      dense.push_back(dense.back());
      continue;
    }
    full.context = step.context;
    dense.push_back(demand_without_unseen(full));
  }
  return dense;
}

/// The same pages loaded, with no older query to serve.
std::vector<StepDemand> demand_of_window_1(std::vector<StepDemand> steps) {
  for (StepDemand& step : steps) {
    for (LayerDemand& layer : step.layers) layer.unseen_visits = layer.unseen_union = 0;
  }
  return steps;
}

}  // namespace

std::unique_ptr<TraceReader> open_trace(const ResolvedSimulation& resolved) {
  if (!resolved.uses_trace) return nullptr;
  if (!resolved.trace.empty()) {
    // A simulation decodes few chunks; damage anywhere in the file is refused all the same.
    auto trace = std::make_unique<TraceReader>(resolved.trace);
    trace->verify();
    return trace;
  }
  return std::make_unique<TraceReader>(sample_trace(), trace_label(resolved));
}

std::string trace_label(const ResolvedSimulation& resolved) {
  if (!resolved.trace.empty()) return resolved.trace;
  return "bundled sample " + std::string(sample_trace_name());
}

GpuMemoryUse gpu_memory_use(const DecodeConfig& config, const GpuSpec& gpu) {
  const int gpus = config.tensor_parallel_size;
  // KV heads are split over the group until each GPU holds one; beyond that they are replicated.
  const int kv_split = std::min(gpus, config.llm.num_kv_heads);
  const PolicyState state =
      config.policy->state(config.llm, config.context, config.page_size, config.kv_dtype, config.dense_layers);
  return {.weight_bytes = bytes_of(config.llm.weight_dtype, config.llm.num_params()) / gpus,
          .kv_bytes = config.batch * state.gpu_kv / kv_split,
          .policy_metadata_bytes = config.batch * state.gpu_metadata / kv_split,
          .output_cache_bytes = output_cache_state_bytes(config),
          .capacity_bytes = gpu.hbm_capacity_bytes,
          .host_kv_bytes = config.batch * state.host_kv / kv_split,
          .host_index_bytes = config.batch * state.host_metadata / kv_split};
}

SimulationRun run_simulation(const ResolvedSimulation& resolved) {
  return run_simulation(resolved, open_trace(resolved).get());
}

SimulationRun run_simulation(const ResolvedSimulation& resolved, const TraceReader* trace) {
  SimulationRun run;
  run.resolved = resolved;
  run.memory = gpu_memory_use(resolved.config, resolved.gpu.spec);
  const DecodeConfig& config = resolved.config;
  if (resolved.uses_trace) {
    run.trace = demand_from_trace(*trace, config, resolved.steps);
    run.demand = std::move(run.trace->steps);
    run.trace->steps.clear();
  } else {
    run.demand.assign(static_cast<std::size_t>(resolved.steps), demand_without_unseen(config));
  }

  run.result = simulate_decode(config, resolved.gpu, run.demand);
  const DecodeConfig full = full_attention_of(config);
  run.full = config.policy->name() == full.policy->name() && config.window == 1
                 ? run.result
                 : simulate_decode(full, resolved.gpu, dense_demand(full, run.demand));
  run.without_retro = config.window == 1
                          ? run.result
                          : simulate_decode(without_window(config), resolved.gpu, demand_of_window_1(run.demand));
  return run;
}

bool window_is_pure_cost(const DecodeConfig& config) {
  return config.window > 1 && !config.policy->can_return_to_skipped_pages();
}

std::string variant_name(const DecodeConfig& config) {
  std::string name(config.policy->name());
  if (config.window > 1) name += ", window " + std::to_string(config.window);
  return name;
}

}  // namespace retrosim
