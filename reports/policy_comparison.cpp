#include "reports/policy_comparison.h"

#include <algorithm>

#include "model/error.h"
#include "reports/format.h"
#include "reports/simulation_json.h"
#include "reports/table.h"

namespace retrosim {
namespace {

std::vector<std::string> policies_of(const ComparisonRequest& request) {
  std::vector<std::string> names = request.policies.empty() ? policy_names() : request.policies;
  for (const std::string& name : names) (void)make_policy(name, {});  // refuses an unknown one
  return names;
}

SimulationRequest asked_of(const ComparisonRequest& request, const ComparisonPoint& point) {
  SimulationRequest asked = request.base;
  asked.policy = point.policy;
  asked.window = point.window;
  asked.context = point.context;
  asked.batch = point.batch;
  asked.tensor_parallel_size = point.tensor_parallel_size;
  if (point.policy == "full") {
    asked.budget.reset();
    asked.budget_tokens.reset();
    asked.dense_layers.reset();
  }
  const auto policy = make_policy(point.policy, {});
  if (!policy->selects_by_score()) asked.trace.clear();
  return asked;
}

void fill(const SimulationRun& run, ComparisonPoint& point) {
  const DecodeConfig& config = run.resolved.config;
  point.step = run.result.step;
  point.memory = run.memory;
  point.window_is_pure_cost = window_is_pure_cost(config);
  point.evaluated = config.policy->evidence().evaluated;
  if (point.policy == "full") point.mass_recall = 1;
  if (run.trace) point.mass_recall = run.trace->mass_recall_retro_mean;
  for (const OpRecord& op : run.result.ops) {
    if (op.kind != OpKind::all_reduce) continue;
    point.interconnect_bytes += static_cast<double>(op.traffic.interconnect);
    point.all_reduce_us += op.latency_us;
  }
}

Json point_json(const ComparisonPoint& point) {
  Json json{{"policy", point.policy},
            {"window", point.window},
            {"context", point.context},
            {"batch", point.batch},
            {"tensor_parallel_size", point.tensor_parallel_size},
            {"refused", nullptr}};
  if (!point.refused.empty()) {
    json["refused"] = point.refused;
    return json;
  }
  json["fits"] = point.memory.fits();
  json["window_is_pure_cost"] = point.window_is_pure_cost;
  json["selection_evaluated"] = point.evaluated;
  json["mass_recall"] = point.mass_recall ? Json(*point.mass_recall) : Json(nullptr);
  json["gpu_needed_bytes"] = point.memory.needed_bytes();
  json["gpu_kv_bytes"] = point.memory.kv_bytes;
  json["host_kv_bytes"] = point.memory.host_kv_bytes;
  json["interconnect_bytes"] = point.interconnect_bytes;
  json["all_reduce_us"] = point.all_reduce_us;
  json["step"] = step_json(point.step);
  return json;
}

std::string name_of(const ComparisonPoint& point) {
  std::string name = point.policy;
  if (point.window > 1) name += ", w " + std::to_string(point.window);
  if (point.window_is_pure_cost) name += " (pure cost)";
  if (!point.evaluated) name += " *";
  return name;
}

std::string latency_cell(const ComparisonPoint& point) {
  if (!point.refused.empty()) return "not defined";
  return fixed(point.step.latency_us_mean / 1e3, 2) + (point.memory.fits() ? "" : " (does not fit)");
}

/// The points of one policy and window, a batch each.
Table table_of(const PolicyComparison& comparison, std::int64_t context, int tensor_parallel_size) {
  const std::vector<std::int64_t>& batches = comparison.request.batches;
  std::vector<std::string> header = {"policy"};
  for (const std::int64_t batch : batches) header.push_back("ms, batch " + std::to_string(batch));
  const std::string first = ", batch " + std::to_string(batches.front());
  for (const char* column : {"KV read", "weights read", "PCIe", "all-reduce", "GPU memory"}) {
    header.push_back(std::string(column) + first);
  }
  header.emplace_back("mass recalled");
  Table table(header);
  std::vector<std::string> row;
  for (const ComparisonPoint& point : comparison.points) {
    if (point.context != context || point.tensor_parallel_size != tensor_parallel_size) continue;
    if (point.batch == batches.front()) row = {name_of(point)};
    row.push_back(latency_cell(point));
    if (point.batch != batches.back()) continue;
    const auto at_first = std::ranges::find_if(comparison.points, [&](const ComparisonPoint& other) {
      return other.policy == point.policy && other.window == point.window && other.context == context &&
             other.tensor_parallel_size == tensor_parallel_size && other.batch == batches.front();
    });
    const StepSummary& step = at_first->step;
    const bool defined = at_first->refused.empty();
    const auto cell = [&](double bytes) { return defined ? format_bytes(bytes) : std::string("-"); };
    row.push_back(cell(step.kv_read_bytes));
    row.push_back(cell(step.weight_read_bytes));
    row.push_back(cell(step.host_to_device_bytes + step.device_to_host_bytes));
    row.push_back(defined ? fixed(at_first->all_reduce_us, 0) + " us, " + format_bytes(at_first->interconnect_bytes)
                          : "-");
    row.push_back(cell(static_cast<double>(at_first->memory.needed_bytes())));
    row.push_back(at_first->mass_recall ? fixed(*at_first->mass_recall, 3) : "-");
    table.add(row);
  }
  return table;
}

}  // namespace

PolicyComparison compare_policies(const ComparisonRequest& request) {
  PolicyComparison comparison{.request = request, .gpu = {}, .provenance = {}, .llm = {}, .points = {}};
  std::optional<ResolvedSimulation> first;
  std::unique_ptr<TraceReader> trace;
  std::string refusal;
  for (const int size : request.tensor_parallel_sizes) {
    for (const std::int64_t context : request.contexts) {
      for (const std::string& policy : policies_of(request)) {
        for (const int window : request.windows) {
          for (const std::int64_t batch : request.batches) {
            ComparisonPoint point{.policy = policy,
                                  .window = window,
                                  .context = context,
                                  .batch = batch,
                                  .tensor_parallel_size = size,
                                  .refused = {},
                                  .step = {},
                                  .memory = {},
                                  .mass_recall = {}};
            try {
              const ResolvedSimulation resolved = resolve(asked_of(request, point));
              if (!first) first = resolved;
              if (resolved.uses_trace && !trace) trace = open_trace(resolved);
              fill(run_simulation(resolved, trace.get()), point);
            } catch (const InputError& error) {
              point.refused = error.what();
              if (refusal.empty()) refusal = error.what();
            }
            comparison.points.push_back(std::move(point));
          }
        }
      }
    }
  }
  if (!first) throw InputError(refusal.empty() ? "no combination to compare" : refusal);
  comparison.gpu = first->gpu.spec.name;
  comparison.provenance = first->gpu.provenance;
  comparison.llm = first->config.llm.name;
  return comparison;
}

Json comparison_json(const PolicyComparison& comparison) {
  Json points = Json::array();
  for (const ComparisonPoint& point : comparison.points) points.push_back(point_json(point));
  return {{"schema", "retrosim.compare/1"},
          {"llm", comparison.llm},
          {"gpu", comparison.gpu},
          {"profile_provenance", comparison.provenance},
          {"budget", comparison.request.base.budget.value_or(PolicyParams{}.budget)},
          {"page_size", comparison.request.base.page_size},
          {"steps", comparison.request.base.steps},
          {"points", std::move(points)}};
}

std::string comparison_csv(const PolicyComparison& comparison) {
  std::vector<std::string> header = {"policy",
                                     "window",
                                     "context",
                                     "batch",
                                     "tensor_parallel_size",
                                     "refused",
                                     "fits",
                                     "window_is_pure_cost",
                                     "mass_recall",
                                     "gpu_needed_bytes",
                                     "host_kv_bytes",
                                     "interconnect_bytes",
                                     "all_reduce_us"};
  const Json fields = step_json(StepSummary{});
  for (auto field = fields.begin(); field != fields.end(); ++field) header.push_back(field.key());
  Table table(header, header.size());
  for (const ComparisonPoint& point : comparison.points) {
    const auto text = [](bool value) { return std::string(value ? "true" : "false"); };
    std::vector<std::string> row = {point.policy,
                                    std::to_string(point.window),
                                    std::to_string(point.context),
                                    std::to_string(point.batch),
                                    std::to_string(point.tensor_parallel_size),
                                    point.refused,
                                    text(point.memory.fits()),
                                    text(point.window_is_pure_cost),
                                    point.mass_recall ? Json(*point.mass_recall).dump() : "",
                                    std::to_string(point.memory.needed_bytes()),
                                    std::to_string(point.memory.host_kv_bytes),
                                    Json(point.interconnect_bytes).dump(),
                                    Json(point.all_reduce_us).dump()};
    for (const Json& value : step_json(point.step)) row.push_back(value.dump());
    table.add(std::move(row));
  }
  return table.to_csv();
}

std::string comparison_markdown(const PolicyComparison& comparison) {
  const ComparisonRequest& request = comparison.request;
  std::string text = "## " + comparison.llm + " on " + comparison.gpu +
                     "\n\nPredicted, per decode step and GPU. Budget " +
                     Json(request.base.budget.value_or(PolicyParams{}.budget)).dump() + " of the pages of " +
                     std::to_string(request.base.page_size) +
                     " tokens. *: the policy's rule needs what no trace records, "
                     "and something stands in for it. Pure cost: the window finds nothing unseen.\n";
  for (const int size : request.tensor_parallel_sizes) {
    for (const std::int64_t context : request.contexts) {
      text += "\n### Context " + std::to_string(context) + (size > 1 ? ", " + std::to_string(size) + " GPUs" : "") +
              "\n\n" + table_of(comparison, context, size).to_markdown();
    }
  }
  return text;
}

}  // namespace retrosim
