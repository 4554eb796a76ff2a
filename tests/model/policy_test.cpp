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

/// A shuffled ranking with masses that fall with the rank and sum to 1.
struct Ranking {
  Ranking(std::int64_t count, unsigned seed) : pages(shuffled_pages(count, seed)), mass(pages.size()) {
    const auto last = static_cast<float>(count);
    for (std::size_t i = 0; i < mass.size(); ++i) mass[i] = 2 * (last - static_cast<float>(i)) / (last * (last + 1));
  }
  RankedPages ranked() const {
    return {.pages = pages, .num_pages = static_cast<std::int64_t>(pages.size()), .mass = mass};
  }
  std::vector<PageId> pages;
  std::vector<float> mass;
};

class EveryPolicy : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryPolicy, SelectsDistinctPagesWithTheOpenOneAndAsManyAsItSays) {
  for (const double budget : {0.01, 0.15, 0.5, 1.0}) {
    const auto policy = make_policy(GetParam(), {.budget = budget});
    for (const std::int64_t num_pages : {1, 2, 7, 64, 513}) {
      const Ranking ranking(num_pages, static_cast<unsigned>(num_pages));
      std::vector<PageId> selected{99};
      policy->select(ranking.ranked(), 16, selected);
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
  policy->select(Ranking(40, 1).ranked(), 16, selected);
  EXPECT_EQ(selected.size(), 40U);
}

// Hits + misses = selected: what was recalled is what had been written before the step and was not resident.
void expect_hits_and_misses_are_the_selection(const SelectionMemory& before, const std::vector<PageId>& selected,
                                              const SelectionMemory& after) {
  if (before.steps == 0 || before.resident.empty()) {
    EXPECT_EQ(after.recalled, 0);
    return;
  }
  const auto hits = std::count_if(selected.begin(), selected.end(),
                                  [&](PageId page) { return page >= before.num_pages || before.resident[page] != 0; });
  EXPECT_EQ(hits + after.recalled, static_cast<std::int64_t>(selected.size()));
}

// A policy that says it never returns to a page it skipped must not: over a growing context, whatever the ranking.
// The sizes hold at every step; only snapkv keeps what is generated on top. The context stands still between pages.
TEST_P(EveryPolicy, OverAGrowingContextSizesHoldAndEvictedPagesStayOut) {
  for (const PolicyParams& params : {PolicyParams{.budget_tokens = 160}, PolicyParams{.budget = 0.3}}) {
    const auto policy = make_policy(GetParam(), params);
    if (policy->can_return_to_skipped_pages()) {
      EXPECT_TRUE(policy->selects_by_score());
    }
    SelectionMemory memory;
    std::set<PageId> skipped;
    unsigned seed = 0;
    for (std::int64_t num_pages = 12; num_pages < 60; ++num_pages) {
      for (int step = 0; step < 3; ++step) {
        const Ranking ranking(num_pages, ++seed);
        std::vector<PageId> selected;
        const SelectionMemory before = memory;
        policy->select_next(ranking.ranked(), 16, memory, selected);
        expect_hits_and_misses_are_the_selection(before, selected, memory);
        const std::set<PageId> kept(selected.begin(), selected.end());
        EXPECT_EQ(kept.size(), selected.size());
        EXPECT_TRUE(kept.contains(static_cast<PageId>(num_pages - 1)));
        EXPECT_LT(*kept.rbegin(), num_pages);
        const auto says = static_cast<std::size_t>(policy->pages_selected(num_pages, 16));
        if (GetParam() == "snapkv") {
          EXPECT_GE(selected.size(), says);
        } else {
          EXPECT_EQ(selected.size(), says);
        }
        EXPECT_LE(memory.recalled, static_cast<std::int64_t>(selected.size()));
        if (policy->can_return_to_skipped_pages()) continue;
        for (PageId page = 0; page < num_pages; ++page) {
          if (kept.contains(page)) {
            EXPECT_FALSE(skipped.contains(page)) << "page " << page << " of " << num_pages;
          } else {
            skipped.insert(page);
          }
        }
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

TEST_P(EveryPolicy, SaysHowItsSetsComeAboutAndWhichVariantsItHas) {
  const auto policy = make_policy(GetParam(), {});
  EXPECT_FALSE(policy->evidence().note.empty());
  ASSERT_FALSE(policy->variants().empty());
  EXPECT_EQ(policy->variant(), policy->variants().front());
  for (const PolicyVariant variant : {PolicyVariant::paper, PolicyVariant::released, PolicyVariant::ideal}) {
    const auto variants = policy->variants();
    if (std::find(variants.begin(), variants.end(), variant) != variants.end()) {
      EXPECT_EQ(make_policy(GetParam(), {.variant = variant})->variant(), variant);
    } else {
      EXPECT_THROW(make_policy(GetParam(), {.variant = variant}), InputError);
    }
  }
  EXPECT_THROW(make_policy(GetParam(), {.options = {{"no_such_option", 1}}}), InputError);
  for (const PolicyOption& option : policy->options()) {
    EXPECT_EQ(make_policy(GetParam(), {.options = {{std::string(option.name), option.max}}})->options().size(),
              policy->options().size());
    EXPECT_THROW(make_policy(GetParam(), {.options = {{std::string(option.name), option.max + 1}}}), InputError);
  }
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

TEST(Policy, ReadsItsVariants) {
  EXPECT_EQ(parse_policy_variant("released", "--policy-variant"), PolicyVariant::released);
  EXPECT_EQ(name_of(PolicyVariant::ideal), "ideal");
  EXPECT_THROW(parse_policy_variant("best", "--policy-variant"), InputError);
}

TEST(EvictingPolicies, RefuseARankingWithoutMasses) {
  std::vector<PageId> selected;
  const auto pages = shuffled_pages(20, 1);
  for (const char* name : {"tova", "h2o", "snapkv", "keyformer", "morphkv"}) {
    const auto policy = make_policy(name, {.budget = 0.2});
    EXPECT_THROW(policy->select({.pages = pages, .num_pages = 20}, 16, selected), InputError) << name;
  }
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
