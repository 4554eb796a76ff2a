#include "reports/serving_plan.h"

#include <algorithm>
#include <cstdio>
#include <tuple>

#include "model/error.h"
#include "reports/format.h"
#include "reports/policy_flags.h"
#include "reports/simulation_run.h"
#include "reports/table.h"

namespace retrosim {
namespace {

constexpr std::size_t kMaxCandidates = 100'000;

template <typename T>
std::vector<T> or_one(const std::vector<T>& list, T value) {
  return list.empty() ? std::vector<T>{value} : list;
}

std::string short_text(double value) { return fixed(value, 3); }

/// The choices, one after another; combinations that do not exist are noted.
class Grid {
 public:
  Grid(const PlanRequest& request, ServingPlan& plan) : request_(request), plan_(plan) {}

  void fill() {
    const SimulationRequest& base = request_.base.simulation;
    for (const std::string& name : or_one(request_.gpus, base.gpu)) add_gpu(name);
    if (plan_.candidates.empty()) throw InputError("", "plan", "no combination is possible", plan_.skipped.front());
  }

 private:
  void add_gpu(const std::string& name) {
    ServingRequest base = request_.base;
    base.simulation.gpu = name;
    base.simulation.policy = "full";
    base.simulation.window.reset();
    base.simulation.budget.reset();
    base.simulation.tensor_parallel_size = 1;
    base.simulation.kv_cache_dtype = "auto";
    resolved_ = resolve(base);
    const std::string gpu = resolved_.simulation.gpu.spec.name;
    const auto price = plan_.prices.find(gpu);
    if (price == plan_.prices.end()) {
      throw InputError("", "--gpu-price", "no price for " + gpu, gpu + "=USD_PER_HOUR");
    }
    price_ = price->second.usd_per_hour;
    plan_.gpus.push_back(resolved_.simulation.gpu);
    plan_.demand.workload = resolved_.workload;
    const SimulationRequest& one = request_.base.simulation;
    for (const int tp : or_one(request_.tensor_parallel_sizes, one.tensor_parallel_size)) {
      for (const std::string& dtype : or_one(request_.kv_cache_dtypes, one.kv_cache_dtype)) {
        for (const int seqs : or_one(request_.max_num_seqs, request_.base.max_num_seqs)) {
          for (const std::string& policy : or_one(request_.policies, one.policy)) add_policy(tp, dtype, seqs, policy);
        }
      }
    }
  }

  void add_policy(int tp, const std::string& dtype, int seqs, const std::string& policy) {
    if (policy == "full") return add(tp, dtype, seqs, policy, 1, 1);
    const std::string pages = policy == "retro" ? "quest" : policy;
    for (const double budget : or_one(request_.budgets, request_.base.simulation.budget.value_or(0.15))) {
      const std::shared_ptr<const Policy> made = make_policy(pages, budget_params(pages, budget, std::nullopt));
      const int fallback = request_.base.simulation.window.value_or(policy == "retro" ? 2 : 1);
      for (const int window : or_one(request_.windows, fallback)) {
        if (window > 1 && !made->can_return_to_skipped_pages()) {
          plan_.skipped.push_back(policy + ", window " + std::to_string(window) +
                                  ": skipped pages never come back, a window is pure cost");
          continue;
        }
        add(tp, dtype, seqs, pages, budget, window);
      }
    }
  }

  void add(int tp, const std::string& dtype, int seqs, const std::string& policy, double budget, int window) {
    PlanCandidate candidate{.name = {}, .config = resolved_.config, .gpu = plan_.gpus.size() - 1};
    ServingConfig& config = candidate.config;
    DecodeConfig& decode = config.decode;
    const bool full = policy == "full";
    const std::optional<double> fraction = full ? std::nullopt : std::optional(budget);
    decode.policy = make_policy(policy, budget_params(policy, fraction, std::nullopt));
    decode.dense_layers = full ? 0 : request_.base.simulation.dense_layers.value_or(DecodeConfig{}.dense_layers);
    decode.window = window;
    decode.tensor_parallel_size = tp;
    if (dtype != "auto") decode.kv_dtype = parse_dtype(dtype, "--kv-cache-dtype");
    config.max_num_seqs = seqs;
    candidate.price_per_gpu_hour = price_;
    candidate.name = plan_.gpus.back().spec.name + " tp" + std::to_string(tp) + " " + policy;
    if (!full) candidate.name += " " + short_text(budget) + " w" + std::to_string(window);
    candidate.name += " kv " + std::string(name_of(decode.kv_dtype)) + " seqs " + std::to_string(seqs);
    try {
      validate(config);
    } catch (const InputError& error) {
      plan_.skipped.push_back(candidate.name + ": " + error.what());
      return;
    }
    if (decode.policy->selects_by_score()) {
      const auto key = std::tuple(policy, budget, window);
      if (!shares_.contains(key)) {
        ResolvedSimulation simulation = resolved_.simulation;
        simulation.config = decode;
        simulation.config.tensor_parallel_size = 1;
        simulation.config.context = resolved_.simulation.config.context;
        simulation.uses_trace = true;
        shares_[key] = replayed_share_of(simulation);
      }
      if (window > 1) config.unseen = shares_[key].unseen;
      candidate.fidelity = shares_[key].mass_recall;
    } else if (!full) {
      candidate.fidelity = 0;  // nothing recorded says what it misses
    }
    if (plan_.candidates.size() == kMaxCandidates) {
      throw InputError("", "plan", "more than 100000 combinations", "fewer values");
    }
    // Twice the same choice (retro and quest with one window) is one.
    const auto same = [&](const PlanCandidate& other) { return other.name == candidate.name; };
    if (std::none_of(plan_.candidates.begin(), plan_.candidates.end(), same)) {
      plan_.candidates.push_back(std::move(candidate));
    }
  }

  const PlanRequest& request_;
  ServingPlan& plan_;
  ResolvedServing resolved_;
  double price_ = 0;
  std::map<std::tuple<std::string, double, int>, ReplayedShare> shares_;
};

Json point_json(const ServingPlan& plan, const PlanPoint& point) {
  const PlanCandidate& candidate = plan.candidates[point.candidate];
  const DecodeConfig& decode = candidate.config.decode;
  const bool full = decode.policy->name() == "full";
  Json json{{"name", candidate.name},
            {"gpu", plan.gpus[candidate.gpu].spec.name},
            {"tensor_parallel_size", decode.tensor_parallel_size},
            {"policy", decode.policy->name()},
            {"budget", full ? Json(nullptr) : Json(decode.policy->params().budget)},
            {"window", decode.window},
            {"kv_cache_dtype", name_of(decode.kv_dtype)},
            {"max_num_seqs", candidate.config.max_num_seqs},
            {"mass_recall", full || decode.policy->selects_by_score() ? Json(candidate.fidelity) : Json(nullptr)},
            {"feasible", point.feasible}};
  if (!point.feasible) {
    json["reason"] = point.reason;
    return json;
  }
  const ServingMetrics& metrics = point.goodput.metrics;
  json["goodput_requests_per_s_per_replica"] = point.goodput.requests_per_s;
  json["replicas"] = point.replicas;
  json["gpus"] = point.gpus;
  json["cost_usd_per_hour"] = point.cost_per_hour;
  json["cost_usd_per_million_output_tokens"] = point.cost_per_million_output_tokens;
  json["output_tokens_per_s_per_gpu"] = metrics.output_tokens_per_s_per_gpu;
  json["output_tokens_per_s_per_user"] = metrics.output_tokens_per_s_per_user;
  json["kv_block_bytes"] = point.goodput.memory.block;
  json["decode_batch_mean"] = metrics.decode_batch_mean;
  json["pareto"] = point.pareto;
  json["metrics"] = serving_metrics_json(metrics);
  return json;
}

}  // namespace

ServingPlan make_serving_plan(const PlanRequest& request, bool progress) {
  ServingPlan plan;
  plan.request = request;
  plan.prices = gpu_prices(request.prices);
  if (request.threads < 1 || request.threads > 1024) {
    throw InputError("", "--threads", std::to_string(request.threads), "in [1, 1024]");
  }
  PlanRequest grid = request;
  PlanDemand& demand = plan.demand;
  demand.requests_per_s = request.base.workload.request_rate.value_or(1);
  if (!(demand.requests_per_s > 0)) {
    throw InputError("", "--request-rate", std::to_string(demand.requests_per_s), "more than 0 requests/s");
  }
  grid.base.workload.request_rate = 1;
  if (!grid.base.workload.num_requests) grid.base.workload.num_requests = GoodputSearch{}.requests;
  if (grid.base.workload.max_concurrency > 0) refuse_without_effect("--max-concurrency", "in planning");
  if (request.base.replicas != 1) refuse_without_effect("--replicas", "in planning, which answers it");
  Grid(grid, plan).fill();
  const auto seconds = [](const std::optional<double>& ms) {
    return ms ? std::optional(*ms * 1e-3) : std::optional<double>();
  };
  demand.slo = {.percentile = request.slo_percentile,
                .ttft_s = seconds(request.base.slo_ttft_ms),
                .tpot_s = seconds(request.base.slo_tpot_ms),
                .itl_s = seconds(request.slo_itl_ms),
                .e2e_s = seconds(request.base.slo_e2e_ms)};
  demand.min_fidelity = request.min_fidelity;
  const std::size_t all = plan.candidates.size();
  plan.points = make_plan(plan.candidates, plan.gpus, demand, request.threads, [&](std::size_t done) {
    if (progress) std::fprintf(stderr, "\rretrosim: %zu of %zu choices%s", done, all, done == all ? "\n" : "");
  });
  return plan;
}

Json plan_json(const ServingPlan& plan) {
  Json prices = Json::object();
  Json profiles = Json::object();
  for (const GpuProfile& gpu : plan.gpus) {
    const GpuPrice& price = plan.prices.at(gpu.spec.name);
    prices[gpu.spec.name] = {{"usd_per_hour", price.usd_per_hour}, {"source", price.source}};
    profiles[gpu.spec.name] = gpu.provenance;
  }
  const auto ms = [](const std::optional<double>& s) { return s ? Json(*s * 1e3) : Json(nullptr); };
  const PercentileSlo& slo = plan.demand.slo;
  Json points = Json::array();
  std::size_t feasible = 0;
  for (const PlanPoint& point : plan.points) {
    feasible += point.feasible ? 1 : 0;
    points.push_back(point_json(plan, point));
  }
  const std::ptrdiff_t best = cheapest(plan.candidates, plan.points);
  return {{"schema", "retrosim.plan/1"},
          {"inputs",
           {{"llm", plan.candidates.front().config.decode.llm.name},
            {"workload", plan.demand.workload.description},
            {"demanded_requests_per_s", plan.demand.requests_per_s},
            {"slo",
             {{"percentile", slo.percentile},
              {"ttft_ms", ms(slo.ttft_s)},
              {"tpot_ms", ms(slo.tpot_s)},
              {"itl_ms", ms(slo.itl_s)},
              {"e2e_ms", ms(slo.e2e_s)}}},
            {"min_mass_recall", plan.demand.min_fidelity},
            {"gpu_prices", prices},
            {"profiles", profiles}}},
          {"choices", plan.points.size()},
          {"feasible", feasible},
          {"cheapest", best < 0 ? Json(nullptr) : points[static_cast<std::size_t>(best)]},
          {"skipped_combinations", plan.skipped},
          {"points", points}};
}

std::string plan_text(const ServingPlan& plan) {
  Table table({"choice", "req/s/replica", "GPUs", "USD/h", "tokens/s/GPU", "tokens/s/user", "mass recall"}, 1);
  const std::ptrdiff_t best = cheapest(plan.candidates, plan.points);
  for (const PlanPoint& point : plan.points) {
    if (!point.pareto) continue;
    const ServingMetrics& metrics = point.goodput.metrics;
    table.add({plan.candidates[point.candidate].name, short_text(point.goodput.requests_per_s),
               std::to_string(point.gpus), fixed(point.cost_per_hour, 2), fixed(metrics.output_tokens_per_s_per_gpu, 0),
               fixed(metrics.output_tokens_per_s_per_user, 1), fixed(plan.candidates[point.candidate].fidelity, 3)});
  }
  std::string text = "Pareto front of " + std::to_string(plan.points.size()) + " choices:\n\n" + table.to_text() + "\n";
  if (best < 0) return text + "nothing is feasible: " + plan.points.front().reason + "\n";
  const PlanPoint& point = plan.points[static_cast<std::size_t>(best)];
  return text + "cheapest: " + plan.candidates[point.candidate].name + ", " + std::to_string(point.replicas) +
         " replicas, " + std::to_string(point.gpus) + " GPUs, " + fixed(point.cost_per_hour, 2) + " USD/h\n";
}

std::string plan_csv(const ServingPlan& plan) {
  Table table({"choice", "feasible", "reason", "goodput_requests_per_s_per_replica", "replicas", "gpus",
               "cost_usd_per_hour", "output_tokens_per_s_per_gpu", "output_tokens_per_s_per_user", "mass_recall",
               "pareto"});
  for (const PlanPoint& point : plan.points) {
    const ServingMetrics& metrics = point.goodput.metrics;
    table.add({plan.candidates[point.candidate].name, point.feasible ? "1" : "0", point.reason,
               fixed(point.goodput.requests_per_s, 6), std::to_string(point.replicas), std::to_string(point.gpus),
               fixed(point.cost_per_hour, 4), fixed(metrics.output_tokens_per_s_per_gpu, 3),
               fixed(metrics.output_tokens_per_s_per_user, 3), fixed(plan.candidates[point.candidate].fidelity, 6),
               point.pareto ? "1" : "0"});
  }
  return table.to_csv();
}

}  // namespace retrosim
