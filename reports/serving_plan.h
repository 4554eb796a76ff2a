// `retrosim plan`: the grid of choices a user asks about, judged and reported, schema retrosim.plan/1.
#pragma once

#include <string>
#include <vector>

#include "reports/gpu_prices.h"
#include "reports/serving_json.h"
#include "sim/planner/plan.h"

namespace retrosim {

/// Empty lists mean the one value of `base`.
struct PlanRequest {
  ServingRequest base;  // model, workload (its rate is the demanded one), scheduler, memory
  std::vector<std::string> gpus;
  std::vector<int> tensor_parallel_sizes;
  std::vector<std::string> policies;
  std::vector<double> budgets;              // fractions of the pages
  std::vector<std::int64_t> budget_tokens;  // the same as numbers of tokens
  std::vector<int> windows;
  std::vector<std::string> kv_cache_dtypes;
  std::vector<int> max_num_seqs;
  std::vector<std::string> prices;
  double slo_percentile = 0.99;
  std::optional<double> slo_itl_ms;
  double min_fidelity = 0;
  int threads = 1;
};

struct ServingPlan {
  PlanRequest request;
  std::vector<GpuProfile> gpus;
  std::map<std::string, GpuPrice> prices;
  PlanDemand demand;
  std::vector<PlanCandidate> candidates;
  std::vector<PlanPoint> points;
  std::vector<std::string>
      skipped;  // combinations that are none: a window of full attention, heads that TP cannot split
};

/// Throws InputError naming the flag. Progress goes to stderr where `progress` is set.
ServingPlan make_serving_plan(const PlanRequest& request, bool progress);

Json plan_json(const ServingPlan& plan);
std::string plan_text(const ServingPlan& plan);
std::string plan_csv(const ServingPlan& plan);

}  // namespace retrosim
