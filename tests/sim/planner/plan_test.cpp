#include "sim/planner/plan.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/error.h"
#include "sim/workload/synthetic.h"

namespace retrosim {
namespace {

const GpuProfile& gpu() {
  static const GpuProfile profile = find_gpu_profile("h100-sxm");
  return profile;
}

ServingConfig small_config() {
  ServingConfig config;
  config.decode.llm = find_llm_spec("smollm2-135m");
  config.decode.policy = make_policy("full", {});
  config.decode.dense_layers = 0;
  config.max_num_seqs = 16;
  return config;
}

PlanDemand demand_of(double tpot_ms) {
  PlanDemand demand;
  demand.workload =
      synthetic_workload({ArrivalKind::poisson, 1, 1}, parse_length("500", ""), parse_length("50", ""), 100, 1);
  demand.slo.tpot_s = tpot_ms * 1e-3;
  demand.search.requests = 100;
  return demand;
}

ServingMetrics metrics_at(const ServingConfig& config, const PlanDemand& demand, double rate) {
  Workload workload = demand.workload;
  for (Request& request : workload.requests) {
    request.arrival = static_cast<TimePs>(static_cast<double>(request.arrival) / rate);
  }
  return serving_metrics(simulate_serving(config, gpu(), workload), {}, 1);
}

TEST(Goodput, IsTheLastRateThatMeetsTheLimit) {
  const ServingConfig config = small_config();
  // Between the TPOT of a lone request and that of a full batch lies a limit that some rate just meets.
  const double lone = metrics_at(config, demand_of(1), 1e-3).tpot.p99_s;
  const double crowded = metrics_at(config, demand_of(1), 1e5).tpot.p99_s;
  ASSERT_LT(lone, crowded);
  const PlanDemand demand = demand_of(1e3 * (lone + crowded) / 2);
  const Goodput goodput =
      find_goodput(config, std::make_shared<const Pricer>(gpu()), demand.workload, demand.slo, demand.search);
  EXPECT_GT(goodput.requests_per_s, 0);
  EXPECT_TRUE(meets(goodput.metrics, demand.slo));
  EXPECT_FALSE(meets(metrics_at(config, demand, goodput.requests_per_s * 1.05), demand.slo));
}

TEST(Goodput, LooserLimitsAllowMore) {
  const double lone_ms = 1e3 * metrics_at(small_config(), demand_of(1), 1e-3).tpot.p99_s;
  double last = 0;
  for (const double factor : {0.9, 1.1, 1.5, 3.0}) {
    const PlanDemand demand = demand_of(lone_ms * factor);
    const double rate =
        find_goodput(small_config(), std::make_shared<const Pricer>(gpu()), demand.workload, demand.slo, demand.search)
            .requests_per_s;
    EXPECT_GE(rate, last);
    EXPECT_EQ(rate > 0, factor > 1);  // a lone request misses a limit below its own TPOT
    last = rate;
  }
}

TEST(Goodput, RefusesNoLimitAndOddPercentiles) {
  PercentileSlo slo;
  EXPECT_THROW(validate(slo), InputError);
  slo.ttft_s = 1;
  slo.percentile = 0.42;
  EXPECT_THROW(validate(slo), InputError);
}

TEST(Plan, DoesNotDependOnThreadsAndKeepsInfeasiblePoints) {
  std::vector<PlanCandidate> candidates;
  for (const int seqs : {1, 4, 16}) {
    PlanCandidate candidate{.name = std::to_string(seqs), .config = small_config(), .gpu = 0};
    candidate.config.max_num_seqs = seqs;
    candidate.price_per_gpu_hour = 2;
    candidates.push_back(candidate);
  }
  candidates.push_back(candidates[0]);  // does not fit
  candidates.back().config.decode.llm = find_llm_spec("llama-3.1-70b");
  candidates.push_back(candidates[0]);  // sees too little
  candidates.back().fidelity = 0.5;
  PlanDemand demand = demand_of(1000);
  demand.slo.e2e_s = 1;
  demand.requests_per_s = 500;
  demand.min_fidelity = 0.9;
  const auto quiet = [](std::size_t) {};
  const std::vector<PlanPoint> one = make_plan(candidates, {gpu()}, demand, 1, quiet);
  const std::vector<PlanPoint> four = make_plan(candidates, {gpu()}, demand, 4, quiet);
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].candidate, i);
    EXPECT_EQ(one[i].goodput.requests_per_s, four[i].goodput.requests_per_s);
    EXPECT_EQ(one[i].pareto, four[i].pareto);
  }
  EXPECT_FALSE(one[3].feasible);
  EXPECT_NE(one[3].reason.find("does not fit"), std::string::npos);
  EXPECT_FALSE(one[4].feasible);
  const std::ptrdiff_t best = cheapest(candidates, one);
  EXPECT_EQ(best, 2);  // larger batches serve more per GPU
  EXPECT_TRUE(one[2].pareto);
  // 500 requests/s over what a replica sustains, one GPU each at 2 an hour.
  EXPECT_EQ(one[2].replicas, static_cast<std::int64_t>(std::ceil(500 / one[2].goodput.requests_per_s)));
  EXPECT_EQ(one[2].cost_per_hour, 2.0 * static_cast<double>(one[2].replicas));
  // 50 output tokens each: 500 * 50 * 3600 tokens an hour.
  EXPECT_NEAR(one[2].cost_per_million_output_tokens, one[2].cost_per_hour / 90.0, 1e-9);
}

}  // namespace
}  // namespace retrosim
