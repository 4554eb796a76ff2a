#include "reports/sweep_point.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "model/error.h"
#include "reports/serving_json.h"
#include "reports/simulation_json.h"
#include "reports/simulation_run.h"
#include "sim/mean_demand.h"
#include "sim/simulate.h"

namespace retrosim {
namespace {

constexpr double kBudgetsPerOctave = 4;
constexpr std::size_t kKeptSimulations = 64;

/// The figures, in the order of the columns; null where there is none.
Json step_figures(const StepSummary& step, const GpuMemoryUse& memory) {
  Json figures = step_json(step);
  // Of one step, or on mean demand, these are the mean.
  figures["mass_recall"] = nullptr;
  figures["needed_bytes"] = memory.needed_bytes();
  figures["capacity_bytes"] = memory.capacity_bytes;
  figures["host_kv_bytes"] = memory.host_kv_bytes;
  return figures;
}

Json serving_figures(const ServingOutcome& outcome) {
  Json figures = serving_metrics_json(outcome.metrics);
  figures["finished"] = outcome.metrics.finished;
  figures["rejected"] = outcome.metrics.rejected_too_long + outcome.metrics.rejected_too_big;
  figures["prefix_cache_hit_rate"] = outcome.metrics.prefix_cache_hit_rate;
  figures["preemptions"] = outcome.run.totals.preemptions;
  figures["max_running_sequences"] = outcome.run.totals.max_running;
  figures["kv_block_bytes"] = outcome.run.memory.block;
  figures["num_kv_blocks"] = outcome.run.memory.num_blocks;
  figures["step_latency_max_abs_error"] = outcome.run.audit.max_abs_error;
  return figures;
}

std::string csv_cell(const Json& value) {
  if (value.is_null()) return "";
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + "\"";
}

/// Everything that decides a selection, and how it is replayed.
std::string policy_key(const DecodeConfig& config, const std::string& trace) {
  std::string key = trace + "\n" + config.llm.name + "\n" + std::string(config.policy->name()) + "\n" +
                    std::string(name_of(config.policy->variant())) + "\n";
  for (const PolicyOption& option : config.policy->options()) {
    key += std::string(option.name) + "=" + std::to_string(std::bit_cast<std::uint64_t>(option.value)) + "\n";
  }
  return key + std::to_string(config.window) + " " + std::to_string(config.dense_layers) + " " +
         std::to_string(config.page_size) + " " + std::to_string(config.context);
}

/// `config` at another relative budget.
DecodeConfig with_budget(DecodeConfig config, double budget) {
  PolicyParams params = config.policy->params();
  params.budget_tokens = 0;
  params.budget = budget;
  config.policy = make_policy(config.policy->name(), params);
  return config;
}

double between(double a, double b, double part) { return a + (b - a) * part; }

}  // namespace

const LlmSpec& SweepLibrary::llm(const std::string& name) {
  const std::lock_guard lock(mutex_);
  auto& llm = llms_[name];
  if (!llm) llm = std::make_shared<const LlmSpec>(find_llm_spec(name));
  return *llm;
}

std::shared_ptr<const Pricer> SweepLibrary::pricer(const SimulationRequest& request) {
  const std::lock_guard lock(mutex_);
  auto& pricer = pricers_[request.gpu + "\n" + request.profile];
  if (!pricer) pricer = std::make_shared<const Pricer>(resolve_gpu(request));
  return pricer;
}

std::shared_ptr<const TraceReader> SweepLibrary::trace(const std::string& name) {
  const std::lock_guard lock(mutex_);
  auto& reader = traces_[name];
  if (!reader) {
    ResolvedSimulation simulation;
    simulation.trace = name;
    simulation.uses_trace = true;
    std::unique_ptr<TraceReader> opened = open_trace(simulation);
    opened->keep_decoded(kKeptTraceBytes);
    reader = std::move(opened);
  }
  return reader;
}

ReplayedShare SweepLibrary::share_at(const DecodeConfig& config, const std::string& trace) {
  const std::string key =
      policy_key(config, trace) + " " + std::to_string(std::bit_cast<std::uint64_t>(config.policy->params().budget));
  const std::lock_guard lock(mutex_);
  auto& share = shares_[key];
  if (!share) {
    ResolvedSimulation simulation;
    simulation.config = config;
    simulation.steps = kReplaySteps;
    simulation.trace = trace;
    simulation.uses_trace = true;
    share = std::make_shared<const ReplayedShare>(replayed_share_of(simulation, *traces_[trace]));
  }
  return *share;
}

ReplayedShare SweepLibrary::share(const DecodeConfig& asked, const std::string& trace) {
  DecodeConfig config = asked;
  config.batch = 1;
  config.tensor_parallel_size = 1;
  const std::vector<PolicyOption> options(config.policy->options().begin(), config.policy->options().end());
  const bool scales = std::any_of(options.begin(), options.end(), [](auto& o) { return o.scales_with_context; });
  const std::shared_ptr<const TraceReader> reader = this->trace(trace);
  if (!scales) {
    // Beyond what was recorded, the nearest steps stand for every context alike.
    const std::int64_t first = reader->header().first_position + 1;
    const auto octave = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(asked.context)));
    config.context = std::min(std::clamp(octave, first, first + reader->num_steps()), config.llm.max_position);
  }
  double budget = config.policy->params().budget;
  if (config.policy->params().budget_tokens > 0) {
    const std::int64_t pages = asked.num_pages();
    budget = static_cast<double>(asked.policy->pages_selected(pages, asked.page_size)) / static_cast<double>(pages);
  }
  const double octaves = -std::log2(budget) * kBudgetsPerOctave;
  const double above = std::floor(octaves);
  const auto knot = [&](double at) { return share_at(with_budget(config, std::exp2(-at / kBudgetsPerOctave)), trace); };
  const ReplayedShare high = knot(above);
  if (octaves == above) return high;
  const ReplayedShare low = knot(above + 1);
  const double part = octaves - above;
  return {.unseen = {.visits = between(high.unseen.visits, low.unseen.visits, part),
                     .in_union = between(high.unseen.in_union, low.unseen.in_union, part),
                     .recalled = between(high.unseen.recalled.value_or(0), low.unseen.recalled.value_or(0), part)},
          .mass_recall = between(high.mass_recall, low.mass_recall, part)};
}

SweepEvaluator::SweepEvaluator(const SweepSpec& spec, std::shared_ptr<SweepLibrary> library, SweepFormat format)
    : spec_(spec), library_(std::move(library)), format_(format), columns_(sweep_columns(spec)) {}

void SweepEvaluator::evaluate_step(const ServingRequest& request, Json& row) {
  const SimulationRequest& simulation = request.simulation;
  const std::shared_ptr<const Pricer> pricer = library_->pricer(simulation);
  const GpuSpec& gpu = pricer->profile().spec;
  const DecodeConfig config = resolve_config(simulation, library_->llm(simulation.llm), pricer->profile());
  const GpuMemoryUse memory = gpu_memory_use(config, gpu);
  const bool uses_trace = config.policy->selects_by_score();
  Json figures;
  if (spec_.recorded_demand) {
    ResolvedSimulation resolved = resolve(simulation);
    const SimulationRun run = run_simulation(resolved);
    figures = step_figures(run.result.step, memory);
    figures["mass_recall"] = run.trace ? run.trace->mass_recall_retro_mean : 1.0;
    if (!run.trace && config.policy->name() != "full") figures["mass_recall"] = nullptr;
  } else {
    ReplayedShare share;
    if (uses_trace) share = library_->share(config, simulation.trace);
    const std::string structure = simulation.llm + " " + simulation.policy + " " + simulation.policy_variant + " " +
                                  (config.tensor_parallel_size > 1 ? "tp" : "") + (config.window > 1 ? "w" : "");
    if (simulations_.size() >= kKeptSimulations) simulations_.clear();
    auto [kept, fresh] = simulations_.try_emplace(structure, config, pricer);
    if (!fresh) kept->second.reconfigure(config, pricer);
    const StepSummary step = summarise_steps(config, kept->second, {mean_demand(config, share.unseen)});
    figures = step_figures(step, memory);
    if (uses_trace) figures["mass_recall"] = share.mass_recall;
    if (config.policy->name() == "full") figures["mass_recall"] = 1.0;
  }
  row["status"] = memory.fits() ? "ok" : "does not fit";
  row["reason"] = memory.fits() ? "" : "weights and KV cache and state exceed the GPU's memory";
  row.update(figures);
}

void SweepEvaluator::evaluate_serving(const ServingRequest& request, Json& row) {
  try {
    const Json figures = serving_figures(run_serving(request));
    row["status"] = "ok";
    row["reason"] = "";
    row.update(figures);
  } catch (const InfeasibleError& error) {
    row["status"] = "does not fit";
    row["reason"] = error.what();
  }
}

Json SweepEvaluator::evaluate(std::uint64_t point, Json row) {
  ServingRequest request = spec_.base;
  const std::vector<nlohmann::json> values = spec_.values_at(point);
  for (std::size_t i = 0; i < values.size(); ++i) {
    spec_.axes[i].field->set(request, values[i]);
    row[std::string(spec_.axes[i].field->name)] = values[i];
  }
  try {
    if (spec_.serving) {
      evaluate_serving(request, row);
    } else {
      evaluate_step(request, row);
    }
  } catch (const InputError& error) {
    row["status"] = "refused";
    row["reason"] = error.what();
  }
  return row;
}

std::string SweepEvaluator::row(std::uint64_t point) {
  const Json row = evaluate(point, Json{{"point", point}});
  if (format_ == SweepFormat::json_lines) return json_text(row, -1);
  std::string line;
  for (const std::string& column : columns_) {
    if (!line.empty()) line += ',';
    const auto cell = row.find(column);
    if (cell != row.end()) line += csv_cell(*cell);
  }
  return line + "\n";
}

std::vector<std::string> sweep_columns(const SweepSpec& spec) {
  std::vector<std::string> columns{"point"};
  for (const SweepAxis& axis : spec.axes) columns.emplace_back(axis.field->name);
  columns.emplace_back("status");
  columns.emplace_back("reason");
  const Json figures = spec.serving ? serving_figures({}) : step_figures({}, {});
  for (const auto& [name, value] : figures.items()) columns.push_back(name);
  return columns;
}

std::string sweep_csv_header(const SweepSpec& spec) {
  std::string line;
  for (const std::string& column : sweep_columns(spec)) line += (line.empty() ? "" : ",") + column;
  return line + "\n";
}

}  // namespace retrosim
