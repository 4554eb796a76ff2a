// One answered question: the asked-for configuration beside full attention and beside the same without a window.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "reports/simulation_request.h"
#include "sim/simulate.h"
#include "traces/demand.h"
#include "traces/trace_reader.h"

namespace retrosim {

/// What one GPU of the tensor-parallel group must hold. All but `fits` are bytes.
struct GpuMemoryUse {
  std::int64_t weight_bytes = 0;
  std::int64_t kv_bytes = 0;
  std::int64_t policy_metadata_bytes = 0;
  std::int64_t output_cache_bytes = 0;
  std::int64_t capacity_bytes = 0;
  // In host memory, the share of one GPU's heads; not part of what the GPU needs.
  std::int64_t host_kv_bytes = 0;
  std::int64_t host_index_bytes = 0;

  std::int64_t needed_bytes() const { return weight_bytes + kv_bytes + policy_metadata_bytes + output_cache_bytes; }
  bool fits() const { return needed_bytes() <= capacity_bytes; }
};

/// Weights, KV cache, policy metadata and output cache of `config`; activations and the runtime's own memory are not
/// counted.
GpuMemoryUse gpu_memory_use(const DecodeConfig& config, const GpuSpec& gpu);

struct SimulationRun {
  ResolvedSimulation resolved;
  GpuMemoryUse memory;
  SimulationResult result;
  SimulationResult full;             // dense attention over the same contexts
  SimulationResult without_retro;    // the same policy and pages, window 1
  std::vector<StepDemand> demand;    // of `result`, one per step
  std::optional<TraceDemand> trace;  // without its steps; empty when the policy needs no trace
};

/// Replays the trace once and simulates the three configurations. Throws InputError.
SimulationRun run_simulation(const ResolvedSimulation& resolved);
/// The same over an open trace, which is not looked at (and may be null) when the policy needs none.
SimulationRun run_simulation(const ResolvedSimulation& resolved, const TraceReader* trace);

/// The trace that --trace names, every chunk of it checked, or the bundled sample; null when the policy needs none.
/// Throws InputError.
/// Decoded layers that the reader of a trace replayed many times keeps.
inline constexpr std::size_t kKeptTraceBytes = 256u << 20;
std::unique_ptr<TraceReader> open_trace(const ResolvedSimulation& resolved);

/// The trace in words: its path, or "bundled sample <name>".
std::string trace_label(const ResolvedSimulation& resolved);

/// True when retrospection is on and can find nothing unseen, as the policy never returns to a page that it skipped.
bool window_is_pure_cost(const DecodeConfig& config);

/// "quest, window 2", "full": how a variant is called in tables and charts.
std::string variant_name(const DecodeConfig& config);

}  // namespace retrosim
