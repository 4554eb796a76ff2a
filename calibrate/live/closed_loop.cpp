#include "calibrate/live/closed_loop.h"

#include <cmath>

#include "model/error.h"
#include "sim/simulate.h"
#include "traces/demand.h"

namespace retrosim {

ClosedLoop compare_with_trace(const LiveResult& result, const std::filesystem::path& folder, const GpuProfile& gpu) {
  ClosedLoop out{.config = result.config, .trace = result.trace};
  DecodeConfig config = decode_config(result.config, result.sm_count > 0 ? result.sm_count : gpu.spec.sm_count);
  const std::int64_t warm_up = config.window - 1;
  out.steps = static_cast<std::int64_t>(result.step_us.size()) - warm_up;
  if (out.steps < 1) throw InputError(result.config.id, "step_us", std::to_string(result.step_us.size()), "more steps");
  config.context = result.first_context + warm_up;
  const TraceDemand demand = demand_from_trace((folder / result.trace).string(), config, static_cast<int>(out.steps));
  if (!demand.mapping.exact) {
    throw InputError(result.trace, "shape", demand.mapping.context, "the live run's own layers, heads and contexts");
  }
  const SimulationResult simulated = simulate_decode(config, gpu, demand.steps);
  out.same_unseen = static_cast<std::int64_t>(result.unseen_by_step.size()) == out.steps + warm_up;
  for (std::int64_t i = 0; i < out.steps; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double measured = result.step_us[at + static_cast<std::size_t>(warm_up)];
    out.measured_us += measured / static_cast<double>(out.steps);
    out.predicted_us += simulated.step_latency_us[at] / static_cast<double>(out.steps);
    out.mape += std::abs(simulated.step_latency_us[at] / measured - 1) / static_cast<double>(out.steps);
    std::int64_t unseen = 0;
    for (const LayerDemand& layer : demand.steps[at].layers) unseen += layer.unseen_visits;
    out.unseen_predicted += unseen;
    if (result.unseen_by_step.size() <= at + static_cast<std::size_t>(warm_up)) continue;
    const std::int64_t counted = result.unseen_by_step[at + static_cast<std::size_t>(warm_up)];
    out.unseen_measured += counted;
    out.same_unseen = out.same_unseen && counted == unseen;
  }
  return out;
}

}  // namespace retrosim
