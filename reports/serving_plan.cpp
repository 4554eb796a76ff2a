#include "reports/serving_plan.h"

#include <cstdio>

#include "model/error.h"
#include "reports/format.h"
#include "reports/plan_grid.h"
#include "reports/policy_flags.h"
#include "reports/table.h"

namespace retrosim {
namespace {

std::string short_text(double value) { return fixed(value, 3); }

Json recall_json(const PlanCandidate& candidate) {
  return candidate.fidelity_known ? Json(candidate.fidelity) : Json(nullptr);
}

Json point_json(const ServingPlan& plan, const PlanPoint& point) {
  const PlanCandidate& candidate = plan.candidates[point.candidate];
  const DecodeConfig& decode = candidate.config.decode;
  const bool full = decode.policy->name() == "full";
  const std::int64_t tokens = decode.policy->params().budget_tokens;
  Json json{{"name", candidate.name},
            {"gpu", plan.gpus[candidate.gpu].spec.name},
            {"tensor_parallel_size", decode.tensor_parallel_size},
            {"policy", decode.policy->name()},
            {"budget", full || tokens > 0 ? Json(nullptr) : Json(decode.policy->params().budget)},
            {"budget_tokens", full || tokens == 0 ? Json(nullptr) : Json(tokens)},
            {"window", decode.window},
            {"kv_cache_dtype", name_of(decode.kv_dtype)},
            {"max_num_seqs", candidate.config.max_num_seqs},
            {"mass_recall", recall_json(candidate)},
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
  fill_plan_grid(grid, plan);
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
