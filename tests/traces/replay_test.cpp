// Replay against a set-based oracle on random and adversarial rankings, and the identities of method.md that it must
// keep.
#include "traces/replay.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <stdexcept>

#include "model/error.h"
#include "tests/traces/replay_oracle.h"
#include "tests/traces/synthetic_trace.h"

namespace retrosim {
namespace {

HeadRanking ranking_of(const SyntheticStep& step) {
  return {step.position, step.num_pages, step.pages[0], step.mass[0], step.rest[0]};
}

// Replays one head's steps through both and compares everything; also checks the conservation laws.
void compare(const std::vector<SyntheticStep>& steps, const Policy& policy, int page_size, int window) {
  HeadReplay replay(policy, page_size, window, true);
  ReplayOracle oracle(policy, page_size, window);
  for (const SyntheticStep& recorded : steps) {
    const HeadStep& step = replay.advance(ranking_of(recorded));
    const OracleStep expected = oracle.advance(ranking_of(recorded));
    ASSERT_EQ(step.pages_loaded, expected.pages_loaded);
    ASSERT_EQ(step.tokens_loaded, expected.tokens_loaded);
    ASSERT_EQ(step.in_previous_topk, expected.in_previous_topk);
    if (step.in_previous_nextk >= 0) {
      ASSERT_EQ(step.in_previous_nextk, expected.in_previous_nextk);
    }
    ASSERT_EQ(std::vector<std::int64_t>(step.unseen.begin(), step.unseen.end()), expected.unseen);
    ASSERT_EQ(step.retro_recall.size(), expected.retro_recall.size());
    for (std::size_t n = 0; n < step.retro_recall.size(); ++n) {
      ASSERT_NEAR(step.retro_recall[n], expected.retro_recall[n], 1e-6);
      if (n > 0) {
        ASSERT_GE(step.retro_recall[n], step.retro_recall[n - 1]);
      }
    }
    // Loaded = selected; U_{w-1} within ... within U_1; U_1 and the hits of the previous step do not overlap.
    ASSERT_EQ(step.pages_loaded, policy.pages_selected(step.num_pages, page_size));
    for (int s = 2; s < window; ++s) ASSERT_LE(step.unseen[s], step.unseen[s - 1]);
    if (window > 1) {
      ASSERT_LE(step.unseen[1] + step.in_previous_topk, step.pages_loaded);
    }
  }
}

struct Case {
  const char* policy;
  double budget;
  std::int64_t first_position, top_m;
  int page_size, window;
  double drift;
};

class Replay : public testing::TestWithParam<Case> {};

TEST_P(Replay, EqualsTheOracleOnRandomRankings) {
  const Case c = GetParam();
  TraceHeader header = synthetic_header(c.first_position, 120);
  header.page_size = c.page_size;
  header.top_m = c.top_m;
  header.recorded_layers = {0};
  header.num_kv_heads = 1;
  SyntheticRankings rankings(header, c.drift, 11);
  std::vector<SyntheticStep> steps;
  for (int i = 0; i < 120; ++i) steps.push_back(rankings.next());
  compare(steps, *make_policy(c.policy, {.budget = c.budget}), c.page_size, c.window);
}

INSTANTIATE_TEST_SUITE_P(
    Policies, Replay,
    testing::Values(Case{"quest", 0.15, 1000, 0, 16, 16, 0.3}, Case{"quest", 0.15, 1000, 0, 16, 1, 0.3},
                    Case{"quest", 0.15, 1000, 0, 16, 2, 0.3}, Case{"quest", 0.5, 0, 0, 1, 64, 0.5},
                    Case{"quest", 0.05, 0, 0, 4, 8, 1.0}, Case{"quest", 1.0, 100, 0, 16, 8, 1.0},
                    Case{"quest", 0.1, 2000, 40, 16, 8, 0.2}, Case{"quest", 0.1, 2000, 14, 16, 8, 0.2},
                    Case{"quest", 0.3, 300, 0, 7, 33, 0.0}, Case{"streaming", 0.2, 500, 0, 16, 16, 0.5},
                    Case{"full", 1.0, 200, 0, 16, 16, 0.5}));

// Rankings made to hurt: a full reversal, a rotation, an alternation between two halves.
TEST(ReplayAdversarial, EqualsTheOracle) {
  for (int kind = 0; kind < 3; ++kind) {
    std::vector<SyntheticStep> steps;
    for (int t = 0; t < 90; ++t) {
      SyntheticStep step;
      step.position = 37 + t;
      step.num_pages = step.position / 4 + 1;
      std::vector<PageId> pages(static_cast<std::size_t>(step.num_pages));
      std::iota(pages.begin(), pages.end(), PageId{0});
      if (kind == 0 && t % 2 == 1) std::reverse(pages.begin(), pages.end());
      if (kind == 1) std::rotate(pages.begin(), pages.begin() + t % step.num_pages, pages.end());
      if (kind == 2 && t / 3 % 2 == 1) std::rotate(pages.begin(), pages.begin() + step.num_pages / 2, pages.end());
      step.mass = {std::vector<float>(pages.size(), 1.0F / static_cast<float>(pages.size()))};
      step.pages = {std::move(pages)};
      step.rest = {0.0F};
      steps.push_back(std::move(step));
    }
    for (const double budget : {0.01, 0.3, 0.9}) compare(steps, *make_policy("quest", {.budget = budget}), 4, 12);
  }
}

// Pages of 1 token, budget 2 of the pages named: the page being filled and the best other one.
//   t  best  S_t     U_1                                   U_2
//   4  p0    {0,4}   (first step)
//   5  p1    {1,5}   {1}: 5 begins after query 4           -
//   6  p0    {0,6}   {0}: not in S_5                       {}: 0 is in S_4
//   7  p2    {2,7}   {2}                                   {2}
//   8  p2    {2,8}   {}                                    {}
TEST(ReplayByHand, FollowsTheDefinition) {
  const auto policy = make_policy("quest", {.budget_tokens = 2});
  HeadReplay replay(*policy, 1, 3, true);
  const std::vector<PageId> best = {0, 1, 0, 2, 2};
  const std::vector<std::vector<std::int64_t>> unseen = {{0, 0, 0}, {0, 1, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 0}};
  const std::vector<std::int64_t> topk = {0, 0, 0, 0, 1};
  for (std::size_t i = 0; i < best.size(); ++i) {
    const auto position = static_cast<std::int64_t>(i) + 4;
    std::vector<PageId> pages = {best[i]};
    for (PageId page = 0; page <= position; ++page) {
      if (page != best[i]) pages.push_back(page);
    }
    // Query t gives half of its mass to the best page and spreads the other half over the rest.
    std::vector<float> mass(pages.size(), 0.5F / static_cast<float>(position));
    mass[0] = 0.5F;
    const HeadStep& step = replay.advance({position, position + 1, pages, mass, 0.0F});
    EXPECT_EQ(std::vector<std::int64_t>(step.unseen.begin(), step.unseen.end()), unseen[i]) << position;
    EXPECT_EQ(step.in_previous_topk, topk[i]);
    EXPECT_EQ(step.pages_loaded, 2);
    EXPECT_EQ(step.tokens_loaded, 2);
    if (position == 6) {
      // Query 4 has 1/2 on page 0 and 1/8 on each of 1, 2, 3, 4. S_4 = {0,4}: 5/8; step 5 adds page 1; step 6 nothing.
      ASSERT_EQ(step.retro_recall.size(), 3U);
      EXPECT_NEAR(step.retro_recall[0], 5.0 / 8, 1e-6);
      EXPECT_NEAR(step.retro_recall[1], 6.0 / 8, 1e-6);
      EXPECT_NEAR(step.retro_recall[2], 6.0 / 8, 1e-6);
    }
  }
}

// I1: with a full budget nothing is ever unseen and nothing is missed.
TEST(ReplayIdentities, FullBudgetLeavesNothingUnseen) {
  TraceHeader header = synthetic_header(100, 60);
  SyntheticRankings rankings(header, 1.0, 3);
  const auto policy = make_policy("quest", {.budget = 1.0});
  HeadReplay replay(*policy, 16, 8, true);
  for (int i = 0; i < 60; ++i) {
    const SyntheticStep recorded = rankings.next();
    const HeadStep& step = replay.advance(ranking_of(recorded));
    EXPECT_EQ(step.tokens_loaded, recorded.position + 1);
    for (const std::int64_t unseen : step.unseen) EXPECT_EQ(unseen, 0);
    for (const double recall : step.retro_recall) EXPECT_NEAR(recall, 1.0, 1e-6);
  }
}

// I4: pages that a query has seen when its window closes = its own k + sum_s |U_s| over the later steps, each once.
TEST(ReplayIdentities, UnseenPagesAddUpToTheUnion) {
  TraceHeader header = synthetic_header(800, 80);
  SyntheticRankings rankings(header, 0.4, 5);
  const auto policy = make_policy("quest", {.budget = 0.2});
  constexpr std::size_t kLater = 7;
  ReplayOracle oracle(*policy, 16, 8);
  HeadReplay replay(*policy, 16, 8, false);
  std::vector<std::set<PageId>> sets;
  std::vector<std::vector<std::int64_t>> unseen;
  std::vector<std::int64_t> num_pages;
  for (int i = 0; i < 80; ++i) {
    const SyntheticStep recorded = rankings.next();
    const HeadStep& step = replay.advance(ranking_of(recorded));
    sets.emplace_back(replay.selected().begin(), replay.selected().end());
    unseen.emplace_back(step.unseen.begin(), step.unseen.end());
    num_pages.push_back(step.num_pages);
  }
  for (std::size_t q = 0; q + kLater < sets.size(); ++q) {
    std::set<PageId> seen = sets[q];
    std::int64_t sum = static_cast<std::int64_t>(sets[q].size());
    for (std::size_t n = 1; n <= kLater; ++n) {
      for (const PageId page : sets[q + n]) {
        if (page < num_pages[q]) seen.insert(page);  // pages that begin after the query are not for it
      }
      sum += unseen[q + n][n];
    }
    EXPECT_EQ(sum, static_cast<std::int64_t>(seen.size())) << q;
  }
}

// A window of w gives the same counts as the first w of a larger one.
TEST(ReplayIdentities, OnePassYieldsEveryWindow) {
  TraceHeader header = synthetic_header(800, 50);
  SyntheticRankings rankings(header, 0.4, 9);
  const auto policy = make_policy("quest", {.budget = 0.2});
  std::vector<std::unique_ptr<HeadReplay>> replays;
  for (int window = 1; window <= 16; ++window) {
    replays.push_back(std::make_unique<HeadReplay>(*policy, 16, window, false));
  }
  for (int i = 0; i < 50; ++i) {
    const SyntheticStep recorded = rankings.next();
    const HeadStep largest = replays.back()->advance(ranking_of(recorded));
    for (std::size_t w = 0; w + 1 < replays.size(); ++w) {
      const HeadStep& step = replays[w]->advance(ranking_of(recorded));
      EXPECT_TRUE(std::equal(step.unseen.begin(), step.unseen.end(), largest.unseen.begin()));
      EXPECT_EQ(step.in_previous_nextk, largest.in_previous_nextk);
    }
  }
}

TEST(ReplayErrors, RefusesGapsAndShortRankings) {
  const auto policy = make_policy("quest", {.budget = 0.5});
  HeadReplay replay(*policy, 16, 2, false);
  const std::vector<PageId> pages = {0, 1, 2};
  const std::vector<float> mass = {0.1F, 0.1F, 0.1F};
  EXPECT_THROW(replay.advance({159, 10, pages, mass, 0.7F}), InputError);  // 5 of 10 pages from 3 listed
  replay.advance({40, 3, pages, mass, 0.7F});
  EXPECT_THROW(replay.advance({42, 3, pages, mass, 0.7F}), std::invalid_argument);
  replay.reset();
  replay.advance({42, 3, pages, mass, 0.7F});
  EXPECT_EQ(replay.num_steps(), 1);
  EXPECT_THROW(HeadReplay(*policy, 16, 0, false), std::invalid_argument);
}

}  // namespace
}  // namespace retrosim
