#include "reports/serving_request.h"

#include <algorithm>
#include <filesystem>

#include "model/error.h"
#include "reports/policy_flags.h"
#include "reports/simulation_run.h"
#include "sim/workload/presets.h"
#include "sim/workload/synthetic.h"
#include "sim/workload/trace_file.h"

namespace retrosim {
namespace {

constexpr std::int64_t kDefaultRequests = 1000;
constexpr std::int64_t kMostPrefixTokens = 1 << 24;
constexpr const char* kDefaultThinkTime = "exponential:30000";

Workload trace_workload(const WorkloadRequest& request) {
  if (!request.input_len.empty() || !request.output_len.empty()) {
    refuse_without_effect("--input-len and --output-len", "with a trace file, which has its own lengths");
  }
  if (request.arrival_cv != 1) refuse_without_effect("--arrival-cv", "with a trace file, which has its own arrivals");
  if (!request.arrivals.empty()) refuse_without_effect("--arrivals", "with a trace file, which has its own arrivals");
  for (const auto& [given, flag] : {std::pair{!request.turns.empty(), "--turns"},
                                    {!request.think_time_ms.empty(), "--think-time-ms"},
                                    {request.shared_prefix_len != 0, "--shared-prefix-len"}}) {
    if (given) refuse_without_effect(flag, "with a trace file, whose requests are its own");
  }
  Workload workload = load_workload(request.workload);
  if (request.num_requests) {
    if (*request.num_requests < 1) {
      throw InputError("", "--num-requests", std::to_string(*request.num_requests), "at least 1");
    }
    const auto most = static_cast<std::size_t>(*request.num_requests);
    if (most < workload.requests.size()) workload.requests.resize(most);
  }
  if (request.request_rate) {
    const double rate = *request.request_rate;
    const double span_s = seconds_from_ps(workload.requests.back().arrival);
    if (!(rate >= 1e-6 && rate <= 1e9)) {
      throw InputError("", "--request-rate", std::to_string(rate), "requests/s in [1e-6, 1e9]");
    }
    if (span_s <= 0) throw InputError(request.workload, "arrivals", "all at once", "a span that a rate can scale");
    const double scale = static_cast<double>(workload.requests.size()) / rate / span_s;
    for (Request& one : workload.requests) one.arrival = ps_from_seconds(seconds_from_ps(one.arrival) * scale);
  }
  workload.description = std::to_string(workload.requests.size()) + " requests of " + request.workload;
  return workload;
}

ArrivalProcess arrivals_of(const WorkloadRequest& request) {
  ArrivalProcess process{.kind = request.arrival_cv == 1 ? ArrivalKind::poisson : ArrivalKind::gamma,
                         .requests_per_s = request.request_rate.value_or(1),
                         .cv = request.arrival_cv};
  if (request.max_concurrency > 0) process.kind = ArrivalKind::all_at_once;
  if (request.arrivals.empty()) return process;
  const WorkloadPreset& preset = find_workload_preset(request.arrivals, "--arrivals");
  if (preset.arrival_cv == 0) {
    throw InputError("", "--arrivals", request.arrivals, "a preset whose gaps between arrivals are published");
  }
  if (request.arrival_cv != 1) refuse_without_effect("--arrival-cv", "with --arrivals, which has its own");
  if (request.max_concurrency > 0) refuse_without_effect("--arrivals", "with --max-concurrency");
  if (!request.request_rate && preset.requests_per_s > 0) process.requests_per_s = preset.requests_per_s;
  process.kind = preset.arrival_cv == 1 ? ArrivalKind::poisson : ArrivalKind::gamma;
  process.cv = preset.arrival_cv;
  return process;
}

double mean_context(const Workload& workload) {
  double sum = 0;
  for (const Request& request : workload.requests) sum += request.input_tokens + 0.5 * request.output_tokens;
  return sum / static_cast<double>(workload.requests.size());
}

}  // namespace

Workload resolve_workload(const WorkloadRequest& request) {
  if (std::filesystem::is_regular_file(request.workload)) return trace_workload(request);
  LengthDistribution input;
  LengthDistribution output;
  if (request.input_len.empty() || request.output_len.empty()) {
    const WorkloadPreset& preset = find_workload_preset(request.workload, "workload");
    input = preset.input;
    output = preset.output;
  }
  if (!request.input_len.empty()) input = parse_length(request.input_len, "--input-len");
  if (!request.output_len.empty()) output = parse_length(request.output_len, "--output-len");
  const std::int64_t count = request.num_requests.value_or(kDefaultRequests);
  if (request.turns.empty()) {
    if (!request.think_time_ms.empty()) refuse_without_effect("--think-time-ms", "without --turns");
    if (request.shared_prefix_len != 0) refuse_without_effect("--shared-prefix-len", "without --turns");
    return synthetic_workload(arrivals_of(request), input, output, count, request.seed);
  }
  if (request.shared_prefix_len < 0 || request.shared_prefix_len > kMostPrefixTokens) {
    throw InputError("", "--shared-prefix-len", std::to_string(request.shared_prefix_len), "tokens in [0, 16777216]");
  }
  const std::string think = request.think_time_ms.empty() ? kDefaultThinkTime : request.think_time_ms;
  return synthetic_sessions(arrivals_of(request), input, output,
                            {.turns = parse_length(request.turns, "--turns"),
                             .think_ms = parse_length(think, "--think-time-ms"),
                             .shared_prefix_tokens = static_cast<std::int32_t>(request.shared_prefix_len)},
                            count, request.seed);
}

ReplayedShare replayed_share_of(const ResolvedSimulation& simulation) {
  return replayed_share_of(simulation, *open_trace(simulation));
}

ReplayedShare replayed_share_of(const ResolvedSimulation& simulation, const TraceReader& trace) {
  const TraceDemand demand = demand_from_trace(trace, simulation.config, simulation.steps);
  double loaded = 0;
  double visits = 0;
  double in_union = 0;
  double recalled = 0;
  for (const StepDemand& step : demand.steps) {
    for (int layer = 0; layer < simulation.config.llm.num_layers; ++layer) {
      if (!simulation.config.is_sparse(layer)) continue;
      const LayerDemand& counts = step.layers[static_cast<std::size_t>(layer)];
      loaded += static_cast<double>(counts.pages_loaded);
      visits += static_cast<double>(counts.unseen_visits);
      in_union += static_cast<double>(counts.unseen_union);
      recalled += static_cast<double>(counts.recalled_pages);
    }
  }
  ReplayedShare share{.unseen = {}, .mass_recall = demand.mass_recall_retro_mean};
  if (loaded > 0) share.unseen = {visits / loaded, std::min(1.0, in_union / loaded), std::min(1.0, recalled / loaded)};
  return share;
}

ResolvedServing resolve(const ServingRequest& request) {
  ResolvedServing resolved;
  resolved.workload = resolve_workload(request.workload);
  resolved.seed = request.workload.seed;
  if (request.workload.max_concurrency < 0) {
    throw InputError("", "--max-concurrency", std::to_string(request.workload.max_concurrency), "at least 0");
  }
  if (request.workload.max_concurrency > 0 && request.workload.request_rate) {
    refuse_without_effect("--request-rate", "with --max-concurrency: a client's next request follows its last answer");
  }
  resolved.options.closed_loop_clients = request.workload.max_concurrency;

  SimulationRequest simulation = request.simulation;
  const LlmSpec llm = simulation.llm.empty() ? LlmSpec{} : find_llm_spec(simulation.llm);
  simulation.context = std::clamp<std::int64_t>(static_cast<std::int64_t>(mean_context(resolved.workload)), 1,
                                                std::max<std::int64_t>(1, llm.max_position));
  simulation.batch = 1;
  simulation.steps = kReplaySteps;
  resolved.simulation = resolve(simulation);

  ServingConfig& config = resolved.config;
  config.decode = resolved.simulation.config;
  config.num_replicas = request.replicas;
  config.routing = parse_routing(request.routing);
  config.max_num_seqs = request.max_num_seqs;
  config.max_num_batched_tokens = request.max_num_batched_tokens;
  config.max_model_len = request.max_model_len;
  config.async_scheduling = request.async_scheduling;
  config.cudagraph_padding = request.cudagraph_padding;
  config.prefix_caching = request.enable_prefix_caching;
  config.reserve_full_prompt = !request.admit_partial_prompts;
  config.gpu_memory_utilization = request.gpu_memory_utilization;
  config.activation_bytes = request.activation_bytes;
  config.runtime_bytes = request.runtime_bytes;
  config.driver_reserved_bytes = request.driver_reserved_bytes;
  config.num_blocks_override = request.num_gpu_blocks_override;
  config.step_overhead_s = request.step_overhead_us * 1e-6;
  config.exact_steps = request.exact_steps;
  if (config.decode.window > 1 && resolved.simulation.uses_trace) {
    config.unseen = replayed_share_of(resolved.simulation).unseen;
    config.unseen.recalled.reset();  // at every context the policy's own expectation
  }
  resolved.unseen_source = config.decode.window == 1
                               ? "window 1: none"
                               : trace_label(resolved.simulation) + ", replayed at the workload's mean context of " +
                                     std::to_string(simulation.context) + " tokens";
  validate(config);
  const auto seconds = [](const std::optional<double>& ms, const char* flag) -> std::optional<double> {
    if (!ms) return std::nullopt;
    if (!(*ms > 0 && *ms < 1e12)) throw InputError("", flag, std::to_string(*ms), "more than 0 ms");
    return *ms * 1e-3;
  };
  resolved.slo = {.ttft_s = seconds(request.slo_ttft_ms, "--slo-ttft-ms"),
                  .tpot_s = seconds(request.slo_tpot_ms, "--slo-tpot-ms"),
                  .e2e_s = seconds(request.slo_e2e_ms, "--slo-e2e-ms")};
  return resolved;
}

}  // namespace retrosim
