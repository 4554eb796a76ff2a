// The document of `retrosim simulate --json`, schema retrosim.simulate/1.
#pragma once

#include <string>
#include <vector>

#include "reports/json_text.h"
#include "reports/simulation_run.h"

namespace retrosim {

/// Keys as the schema names them; bytes and FLOPs are of one GPU, latencies in microseconds.
Json simulation_json(const SimulationRun& run);

/// Everything resolved, defaults included.
Json inputs_json(const ResolvedSimulation& resolved);
Json step_json(const StepSummary& step);
Json memory_json(const GpuMemoryUse& memory);
/// How the trace stands for the target; {"used": false, ...} when the policy needs none.
Json mapping_json(const SimulationRun& run);

/// One line each, for stderr: a trace that was cut off, a configuration that does not fit.
std::vector<std::string> warnings_of(const SimulationRun& run);

}  // namespace retrosim
