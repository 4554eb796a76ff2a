// `retrosim plan`.
#include <gmock/gmock.h>

#include "tests/cli/program.h"

namespace retrosim::test {
namespace {

using ::testing::HasSubstr;

constexpr const char* kPlan =
    "plan --llm smollm2-135m --gpus h100-sxm,a100-sxm --input-len 2000 --output-len 50 --num-requests 40 "
    "--request-rate 50 --slo-ttft-ms 500 --slo-tpot-ms 20 --policies full,retro,streaming ";

TEST(Plan, ThreadsDoNotChangeTheAnswer) {
  const Outcome one = run(std::string(kPlan) + "--windows 1,2 --budgets 0.1,0.2 --json");
  ASSERT_EQ(one.exit_code, 0) << one.err;
  EXPECT_EQ(run(std::string(kPlan) + "--windows 1,2 --budgets 0.1,0.2 --threads 2 --json").out, one.out);
  const auto plan = one.json();
  EXPECT_EQ(plan.at("schema"), "retrosim.plan/1");
  // Per GPU: full; quest at 2 budgets and 2 windows; streaming at 2 budgets, whose windows of 2 are pure cost.
  EXPECT_EQ(plan.at("choices"), 2 * (1 + 4 + 2));
  EXPECT_EQ(plan.at("skipped_combinations").size(), 2 * 2U);
  bool pareto = false;
  for (const auto& point : plan.at("points")) {
    pareto = pareto || (point.at("feasible") && point.at("pareto"));
    const bool known = point.at("policy") != "streaming";
    EXPECT_EQ(point.at("mass_recall").is_number(), known);
    if (point.at("policy") == "quest" && point.at("window") == 2) {
      EXPECT_LT(point.at("mass_recall"), 1);
    }
  }
  EXPECT_TRUE(pareto);
  EXPECT_GT(plan.at("cheapest").at("goodput_requests_per_s_per_replica"), 0);
}

TEST(Plan, ComparesBudgetsInTokens) {
  const Outcome outcome = run(std::string(kPlan) + "--budget-tokens-list 256,512 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  std::vector<int> tokens;
  const auto plan = outcome.json();
  for (const auto& point : plan.at("points")) {
    if (point.at("policy") != "full") tokens.push_back(point.at("budget_tokens"));
  }
  EXPECT_THAT(tokens, ::testing::ElementsAre(256, 512, 256, 512, 256, 512, 256, 512));
  const auto one = run(std::string(kPlan) + "--budget-tokens 256 --json").json();
  for (const auto& point : one.at("points")) {
    if (point.at("policy") != "full") {
      EXPECT_EQ(point.at("budget_tokens"), 256);
    }
  }
}

TEST(Plan, InfeasibleChoicesStayWithTheReason) {
  const Outcome outcome =
      run("plan --llm llama-3.1-70b --gpu h100-sxm --tensor-parallel-sizes 1,4,3 --num-requests 10 --input-len 1000 "
          "--output-len 10 --slo-tpot-ms 100 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto plan = outcome.json();
  ASSERT_EQ(plan.at("points").size(), 2U);
  EXPECT_THAT(plan.at("points").at(0).at("reason"), HasSubstr("does not fit"));
  EXPECT_EQ(plan.at("points").at(1).at("feasible"), true);
  EXPECT_THAT(plan.at("skipped_combinations").at(0), HasSubstr("tensor_parallel_size"));

  const Outcome impossible = run(std::string(kPlan) + "--slo-e2e-ms 0.001 --json");
  EXPECT_EQ(impossible.exit_code, 1);
  const auto none = impossible.json();
  for (const auto& point : none.at("points")) EXPECT_THAT(point.at("reason"), HasSubstr("service level"));
}

TEST(Plan, FidelityCanBeDemanded) {
  const Outcome outcome = run(std::string(kPlan) + "--budget 0.1 --min-mass-recall 0.99 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.json().at("cheapest").at("policy"), "full");
}

TEST(Plan, RefusesFlagsWithoutEffect) {
  expect_refused(std::string(kPlan) + "--replicas 2", "--replicas");
  expect_refused(std::string(kPlan) + "--max-concurrency 2", "--max-concurrency");
  expect_refused("plan --llm smollm2-135m --gpu h100-sxm --num-requests 10", "slo");
  expect_refused("plan --llm smollm2-135m --gpu b60 --num-requests 10 --slo-tpot-ms 10", "--gpu-price");
}

}  // namespace
}  // namespace retrosim::test
