#include "reports/study.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <thread>

#include "model/error.h"
#include "reports/op_breakdown.h"
#include "reports/simulation_json.h"
#include "traces/statistics_json.h"

namespace retrosim {
namespace {

constexpr int kSweepSteps = 16;

SweepPoint sweep_point(double x, const SimulationRun& run) {
  SweepPoint point;
  point.x = x;
  point.full = run.full.step;
  point.without_retro = run.without_retro.step;
  point.asked = run.result.step;
  point.fits = run.memory.fits();
  if (run.trace) point.mass_recall = MassRecall{run.trace->mass_recall_mean, run.trace->mass_recall_retro_mean};
  return point;
}

Sweep sweep(const std::string& input, const std::set<double>& values, const SimulationRequest& asked,
            const TraceReader* trace, int steps, const std::function<void(SimulationRequest&, double)>& set) {
  Sweep result{.input = input, .points = {}};
  for (const double x : values) {
    SimulationRequest request = asked;
    request.steps = steps;
    set(request, x);
    result.points.push_back(sweep_point(x, run_simulation(resolve(request), trace)));
  }
  return result;
}

/// Switches that only a window of 2 or more has a use for.
void drop_window_switches(SimulationRequest& request) {
  request.mask_unseen_rows = request.widen_summaries = request.carry_older_rows_through_dense_layers = false;
  request.output_cache_dtype = "auto";
}

std::set<double> windows_with(int asked) {
  std::set<double> windows = {1, 2, 4, 8, 16};
  windows.insert(asked);
  return windows;
}

std::set<double> budgets_with(const DecodeConfig& config) {
  std::set<double> budgets = {0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0};
  if (config.policy->params().budget_tokens == 0) budgets.insert(config.policy->params().budget);
  return budgets;
}

std::set<double> batches_with(std::int64_t asked) {
  std::set<double> batches = {1, 2, 4, 8, 16, 32, 64, 128, 256};
  batches.insert(static_cast<double>(asked));
  return batches;
}

std::set<double> contexts_with(const DecodeConfig& config) {
  std::set<double> contexts;
  for (std::int64_t tokens = 2048; tokens <= std::min<std::int64_t>(config.llm.max_position, 131072); tokens *= 2) {
    contexts.insert(static_cast<double>(tokens));
  }
  contexts.insert(static_cast<double>(config.context));
  return contexts;
}

/// Windows of the trace's own charts; the paper states exposure at n = 1 and 7 later steps.
TraceStatistics statistics_of(const TraceReader& trace, const DecodeConfig& config) {
  TraceStatisticsOptions options;
  options.policy = config.policy;
  std::erase_if(options.windows, [&](int window) { return window >= trace.num_steps(); });
  options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return trace_statistics(trace, options);
}

}  // namespace

Study run_study(const SimulationRequest& request) {
  const ResolvedSimulation resolved = resolve(request);
  if (resolved.config.policy->name() == "full") {
    throw InputError("", "--policy", "full", "a policy that selects pages: a report compares it with full attention");
  }
  Study study;
  const std::unique_ptr<TraceReader> trace = open_trace(resolved);
  study.run = run_simulation(resolved, trace.get());
  if (trace) study.trace = statistics_of(*trace, resolved.config);
  study.sweep_steps = std::min(resolved.steps, kSweepSteps);
  const auto add = [&](const std::string& input, const std::set<double>& values, const auto& set) {
    study.sweeps.push_back(sweep(input, values, request, trace.get(), study.sweep_steps, set));
  };
  const DecodeConfig& config = resolved.config;
  add("window", windows_with(config.window), [](SimulationRequest& r, double x) {
    r.window = static_cast<int>(x);
    if (*r.window == 1) drop_window_switches(r);
  });
  add("budget", budgets_with(config), [](SimulationRequest& r, double x) {
    r.budget = x;
    r.budget_tokens.reset();
  });
  add("batch", batches_with(config.batch),
      [](SimulationRequest& r, double x) { r.batch = static_cast<std::int64_t>(x); });
  add("context", contexts_with(config),
      [](SimulationRequest& r, double x) { r.context = static_cast<std::int64_t>(x); });
  return study;
}

namespace {

Json recall_json(const std::optional<MassRecall>& recall) {
  if (!recall) return nullptr;
  return {{"without_retro", recall->without_retro}, {"retro", recall->retro}};
}

Json sweep_json(const Sweep& sweep) {
  Json points = Json::array();
  for (const SweepPoint& point : sweep.points) {
    points.push_back({{sweep.input, point.x},
                      {"full", step_json(point.full)},
                      {"without_retro", step_json(point.without_retro)},
                      {"asked", step_json(point.asked)},
                      {"mass_recall", recall_json(point.mass_recall)},
                      {"fits", point.fits}});
  }
  return {{"input", sweep.input}, {"points", std::move(points)}};
}

Json breakdown_json(const SimulationResult& result) {
  Json groups = Json::array();
  for (const OpGroup& group : group_operations(result.ops)) {
    groups.push_back({{"name", group.name},
                      {"launches", group.launches},
                      {"latency_us", group.latency_us},
                      {"hbm_bytes", group.hbm_bytes},
                      {"flops", group.flops},
                      {"bound", group.main_bound()},
                      {"bound_us", group.bound_us},
                      {"provenance", group.worst_provenance()},
                      {"provenance_us", group.provenance_us}});
  }
  return groups;
}

}  // namespace

Json study_json(const Study& study) {
  const SimulationRun& run = study.run;
  Json sweeps = Json::array();
  for (const Sweep& sweep : study.sweeps) sweeps.push_back(sweep_json(sweep));
  Json json{{"schema", "retrosim.report/1"},
            {"inputs", inputs_json(run.resolved)},
            {"variant", variant_name(run.resolved.config)},
            {"step", step_json(run.result.step)},
            {"versus", {{"full", step_json(run.full.step)}, {"without_retro", step_json(run.without_retro.step)}}},
            {"mass_recall", nullptr},
            {"breakdown",
             {{"asked", breakdown_json(run.result)},
              {"without_retro", breakdown_json(run.without_retro)},
              {"full", breakdown_json(run.full)}}},
            {"step_latency_us", run.result.step_latency_us},
            {"provenance_shares", provenance_shares(group_operations(run.result.ops))},
            {"sweeps", std::move(sweeps)},
            {"sweep_steps", study.sweep_steps},
            {"gpu_memory", memory_json(run.memory)},
            {"trace_mapping", mapping_json(run)},
            {"truncated", run.trace && run.trace->truncated},
            {"trace_statistics", nullptr}};
  if (study.trace) json["trace_statistics"] = to_json(*study.trace);
  if (run.trace) {
    json["mass_recall"] = recall_json(MassRecall{run.trace->mass_recall_mean, run.trace->mass_recall_retro_mean});
  }
  return json;
}

}  // namespace retrosim
