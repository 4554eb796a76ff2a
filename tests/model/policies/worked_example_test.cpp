// The policy that model/policies/README.md adds as an example: its file, taken from there, compiles and does what every
// policy must. (A second line in registry.cpp gives it its name on the command line.)
#include <gtest/gtest.h>

#include <set>

#include "model/decode_config.h"
#include "model/step_graph.h"

namespace retrosim {

std::shared_ptr<const Policy> make_recent_policy(const PolicyParams& params);  // README.md

namespace {

TEST(WorkedExample, SelectsDistinctPagesWithinItsBudget) {
  const auto policy = make_recent_policy({.budget = 0.25});
  std::vector<PageId> pages;
  policy->select({.pages = {}, .num_pages = 40}, 16, pages);
  // A quarter of 40 pages: the last ten.
  EXPECT_EQ(pages.size(), 10U);
  EXPECT_EQ(pages.front(), 30U);
  EXPECT_EQ(std::set<PageId>(pages.begin(), pages.end()).size(), 10U);
}

TEST(WorkedExample, IsSteppedThroughLikeTheOthers) {
  DecodeConfig config;
  config.llm = find_llm_spec("llama-3.1-8b");
  config.policy = make_recent_policy({.budget = 0.25});
  config.context = 16384;
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  // Keys and values read: 2 dense layers in full and 30 sparse ones a quarter of 16,384 tokens, 4,096 bytes a token.
  EXPECT_EQ(total_traffic(graph).kv_read, (2 * 16384 + 30 * 4096) * 4096LL);
  EXPECT_GT(config.policy->state(config.llm, 16384, 16, DType::bf16, 2).gpu_kv, 0);
}

}  // namespace
}  // namespace retrosim
