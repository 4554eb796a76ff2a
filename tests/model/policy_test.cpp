// One suite over every policy (style.md, rule 6), and each policy's own rule.
#include "model/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "model/error.h"
#include "tests/model/tiny_llm.h"

namespace retrosim {
namespace {

using ::testing::ElementsAre;
using testing::tiny_llm;

std::vector<PageId> shuffled_pages(std::int64_t count, unsigned seed) {
  std::vector<PageId> pages(static_cast<std::size_t>(count));
  std::iota(pages.begin(), pages.end(), PageId{0});
  std::shuffle(pages.begin(), pages.end(), std::mt19937(seed));
  return pages;
}

class EveryPolicy : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryPolicy, SelectsDistinctPagesWithTheOpenOneAndAsManyAsItSays) {
  for (const double budget : {0.01, 0.15, 0.5, 1.0}) {
    const auto policy = make_policy(GetParam(), {.budget = budget});
    for (const std::int64_t num_pages : {1, 2, 7, 64, 513}) {
      const auto ranking = shuffled_pages(num_pages, static_cast<unsigned>(num_pages));
      std::vector<PageId> selected{99};
      policy->select({.pages = ranking, .num_pages = num_pages}, 16, selected);
      const std::set<PageId> distinct(selected.begin(), selected.end());
      EXPECT_EQ(distinct.size(), selected.size());
      EXPECT_EQ(static_cast<std::int64_t>(selected.size()), policy->pages_selected(num_pages, 16));
      EXPECT_TRUE(distinct.contains(static_cast<PageId>(num_pages - 1)));
      EXPECT_LT(*distinct.rbegin(), num_pages);
    }
  }
}

TEST_P(EveryPolicy, FullBudgetSelectsEverything) {
  const auto policy = make_policy(GetParam(), {.budget = 1.0});
  std::vector<PageId> selected;
  policy->select({.pages = shuffled_pages(40, 1), .num_pages = 40}, 16, selected);
  EXPECT_EQ(selected.size(), 40U);
}

// A policy that says it never returns to a page it skipped must not: over a growing context, whatever the ranking.
TEST_P(EveryPolicy, EvictingPoliciesNeverReturnToASkippedPage) {
  const auto policy = make_policy(GetParam(), {.budget_tokens = 160});
  if (policy->can_return_to_skipped_pages()) {
    EXPECT_TRUE(policy->selects_by_score());
    return;
  }
  std::set<PageId> skipped;
  for (std::int64_t num_pages = 1; num_pages < 60; ++num_pages) {
    std::vector<PageId> selected;
    policy->select({.pages = shuffled_pages(num_pages, static_cast<unsigned>(num_pages)), .num_pages = num_pages}, 16,
                   selected);
    const std::set<PageId> kept(selected.begin(), selected.end());
    for (PageId page = 0; page < num_pages; ++page) {
      if (kept.contains(page)) {
        EXPECT_FALSE(skipped.contains(page)) << "page " << page << " of " << num_pages;
      } else {
        skipped.insert(page);
      }
    }
  }
}

TEST_P(EveryPolicy, KeepsNoMoreKvThanFullAttention) {
  const LlmSpec llm = tiny_llm();
  const auto policy = make_policy(GetParam(), {.budget = 0.2});
  const auto full = make_policy("full", {});
  const PolicyState state = policy->state(llm, 1000, 16, DType::bf16, 1);
  const PolicyState dense = full->state(llm, 1000, 16, DType::bf16, 1);
  EXPECT_GT(state.gpu_kv + state.host_kv, 0);
  EXPECT_LE(state.gpu_kv, dense.gpu_kv);
}

INSTANTIATE_TEST_SUITE_P(Names, EveryPolicy, ::testing::ValuesIn(policy_names()),
                         [](const auto& param_info) { return param_info.param; });

TEST(Policy, BudgetRoundsUpAndStaysInRange) {
  EXPECT_EQ(pages_in_budget({.budget = 0.15}, 2048, 16), 308);  // 307.2
  EXPECT_EQ(pages_in_budget({.budget = 0.15}, 20, 16), 3);      // 3 exactly, not 4
  EXPECT_EQ(pages_in_budget({.budget = 1e-9}, 20, 16), 1);
  EXPECT_EQ(pages_in_budget({.budget_tokens = 512}, 2048, 16), 32);
  EXPECT_EQ(pages_in_budget({.budget_tokens = 513}, 2048, 16), 33);
  EXPECT_EQ(pages_in_budget({.budget_tokens = 1 << 20}, 20, 16), 20);
}

TEST(Policy, RefusesABudgetOutsideItsRange) {
  EXPECT_THROW(make_policy("quest", {.budget = 0}), InputError);
  EXPECT_THROW(make_policy("quest", {.budget = 1.01}), InputError);
  EXPECT_THROW(make_policy("quest", {.budget = std::numeric_limits<double>::quiet_NaN()}), InputError);
  EXPECT_THROW(make_policy("quest", {.budget_tokens = -1}), InputError);
  EXPECT_THROW(make_policy("no-such-policy", {}), InputError);
}

TEST(QuestPolicy, TakesTheBestAndTheOpenPage) {
  const auto quest = make_policy("quest", {.budget = 0.3});  // 3 of 10 pages
  std::vector<PageId> selected;
  const std::vector<PageId> ranking{4, 7, 1, 9, 0, 2, 3, 5, 6, 8};
  quest->select({.pages = ranking, .num_pages = 10}, 16, selected);
  EXPECT_THAT(selected, ElementsAre(4, 7, 9));
}

TEST(QuestPolicy, RefusesARankingShorterThanTheBudget) {
  const auto quest = make_policy("quest", {.budget = 0.5});
  std::vector<PageId> selected;
  const std::vector<PageId> top_two{4, 7};
  EXPECT_THROW(quest->select({.pages = top_two, .num_pages = 10}, 16, selected), InputError);
}

// 2 KV heads * 8 * (min, max) * 2 bytes = 64 bytes a page; 63 pages in 3 sparse layers.
TEST(QuestPolicy, KeepsPageSummariesOfSparseLayers) {
  const auto quest = make_policy("quest", {});
  EXPECT_EQ(quest->state(tiny_llm(), 1000, 16, DType::bf16, 1).gpu_metadata, 3 * 63 * 64);
}

TEST(StreamingPolicy, KeepsSinksAndTheMostRecent) {
  const auto streaming = make_policy("streaming", {.budget = 0.4, .sink_tokens = 4});  // 4 of 10 pages, 1 of them sink
  std::vector<PageId> selected;
  streaming->select({.pages = {}, .num_pages = 10}, 16, selected);
  EXPECT_THAT(selected, ElementsAre(0, 7, 8, 9));
}

}  // namespace
}  // namespace retrosim
