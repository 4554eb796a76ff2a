// One pass for all budgets against a replay of each, and against explicit sets.
#include "traces/budget_statistics.h"

#include <gtest/gtest.h>

#include <set>

#include "model/error.h"
#include "tests/traces/temporary_trace.h"
#include "traces/budget_curve.h"
#include "traces/replay.h"

namespace retrosim {
namespace {

HeadRanking ranking_of(const SyntheticStep& step, std::size_t list) {
  return {step.position, step.num_pages, step.pages[list], step.mass[list], step.rest[list]};
}

// Every count of the single pass equals that of a replay at that budget, for every step; shares to rounding.
TEST(BudgetCurve, EqualsASeparateReplayAtEachBudget) {
  const std::vector<int> windows = {1, 2, 3, 8};
  for (const std::int64_t first : {0, 37, 900}) {
    TraceHeader header = synthetic_header(first, 90);
    const auto steps = drifting_steps(header, 90, 0.4);
    std::vector<std::shared_ptr<const Policy>> policies;
    for (int b = 1; b <= 20; ++b) policies.push_back(make_policy("quest", {.budget = b / 20.0}));
    for (const std::size_t list : {0U, 3U}) {
      BudgetCurve curve(policies, windows, header.page_size);
      std::vector<HeadReplay> replays;
      for (const auto& policy : policies) replays.emplace_back(*policy, header.page_size, 8, true);
      for (const SyntheticStep& step : steps) {
        const BudgetStep& all = curve.advance(ranking_of(step, list));
        for (std::size_t b = 0; b < policies.size(); ++b) {
          const HeadStep& one = replays[b].advance(ranking_of(step, list));
          ASSERT_EQ(all.pages[b], one.pages_loaded);
          ASSERT_EQ(all.in_previous[b], one.in_previous_topk) << step.position << " " << b;
          for (std::size_t w = 0; w < windows.size(); ++w) {
            std::int64_t visits = 0;
            for (int s = 1; s < windows[w]; ++s) visits += one.unseen[static_cast<std::size_t>(s)];
            ASSERT_EQ(all.unseen_visits[w * policies.size() + b], visits) << step.position << " " << b;
            ASSERT_EQ(all.recall.empty(), one.retro_recall.empty());
            if (all.recall.empty()) continue;
            ASSERT_NEAR(all.recall[w * policies.size() + b], one.retro_recall[static_cast<std::size_t>(windows[w] - 1)],
                        1e-12);
          }
        }
      }
    }
  }
}

// Oracle and served pages from explicit sets.
TEST(BudgetCurve, OracleAndServedPagesFollowTheirDefinitions) {
  TraceHeader header = synthetic_header(500, 30);
  const auto steps = drifting_steps(header, 30, 0.3);
  const std::vector<std::shared_ptr<const Policy>> policies = {make_policy("quest", {.budget = 0.1}),
                                                               make_policy("quest", {.budget = 0.4})};
  BudgetCurve curve(policies, {1, 4}, header.page_size);
  std::vector<std::vector<std::set<PageId>>> sets(policies.size());
  for (std::size_t t = 0; t < steps.size(); ++t) {
    const HeadRanking ranking = ranking_of(steps[t], 1);
    const BudgetStep& now = curve.advance(ranking);
    for (std::size_t b = 0; b < policies.size(); ++b) {
      std::vector<PageId> selected;
      policies[b]->select(ranking.ranked(), header.page_size, selected);
      sets[b].emplace_back(selected.begin(), selected.end());
      if (t < 3) {
        EXPECT_TRUE(now.oracle_recall.empty());
        continue;
      }
      std::set<PageId> served;
      for (std::size_t u = t - 3; u <= t; ++u) served.insert(sets[b][u].begin(), sets[b][u].end());
      double total = ranking.rest;
      double caught = 0;
      for (std::size_t i = 0; i < ranking.pages.size(); ++i) {
        total += ranking.mass[i];
        if (served.contains(ranking.pages[i])) caught += ranking.mass[i];
      }
      EXPECT_EQ(now.served_pages[1 * 2 + b], static_cast<std::int64_t>(served.size()));
      EXPECT_NEAR(now.served_recall[1 * 2 + b], caught / total, 1e-6);
      // The oracle is of query t - 3, with as many pages as it selected.
      const HeadRanking query = ranking_of(steps[t - 3], 1);
      std::vector<float> masses(query.mass.begin(), query.mass.end());
      std::sort(masses.rbegin(), masses.rend());
      double all = query.rest;
      for (const float mass : masses) all += mass;
      double best = 0;
      for (std::size_t i = 0; i < sets[b][t - 3].size(); ++i) best += masses[i];
      EXPECT_NEAR(now.oracle_recall[b], best / all, 1e-6);
      EXPECT_GE(now.oracle_recall[b] + 1e-6, now.recall[b]);
    }
  }
}

TEST(BudgetStatistics, AgreeWithTheStatisticsOfEachBudgetAndGrow) {
  const TraceHeader header = synthetic_header(1000, 60);
  const TemporaryTrace trace(header, drifting_steps(header, 60, 0.3));
  const TraceReader reader(trace.file());
  const std::vector<double> budgets = {0.05, 0.15, 0.5, 1.0};
  TraceStatisticsOptions options{.policy = nullptr, .windows = {1, 2, 8}, .threads = 2};
  const auto points = budget_statistics(reader, budgets, options);
  ASSERT_EQ(points.size(), 4U);
  for (std::size_t b = 0; b < budgets.size(); ++b) {
    options.policy = make_policy("quest", {.budget = budgets[b]});
    const TraceStatistics one = trace_statistics(reader, options);
    EXPECT_DOUBLE_EQ(points[b].overlap_topk.value, one.overall.overlap_topk.value);
    EXPECT_DOUBLE_EQ(points[b].selected_pages_mean, one.overall.selected_pages_mean);
    for (std::size_t w = 0; w < 3; ++w) {
      EXPECT_DOUBLE_EQ(points[b].exposure[w].value, one.overall.exposure[w].value);
      EXPECT_NEAR(points[b].mass_recall[w].value, one.overall.mass_recall[w].value, 1e-12);
    }
    EXPECT_NEAR(points[b].served_pages[0].value, 1.0, 1e-12);
    EXPECT_GE(points[b].oracle_recall.value, points[b > 0 ? b - 1 : b].oracle_recall.value);
  }
  // Full budget: nothing is unseen (I1).
  EXPECT_DOUBLE_EQ(points[3].exposure[2].value, 1.0);
  EXPECT_NEAR(points[3].mass_recall[0].value, 1.0, 1e-6);
}

TEST(BudgetStatistics, RefuseBadBudgetsAndShortLists) {
  TraceHeader header = synthetic_header(1000, 20);
  header.top_m = 12;
  const TemporaryTrace trace(header, drifting_steps(header, 20, 0.3));
  const TraceReader reader(trace.file());
  const TraceStatisticsOptions options{.policy = nullptr, .windows = {1, 2}};
  EXPECT_NO_THROW(budget_statistics(reader, {0.1}, options));
  EXPECT_THROW(budget_statistics(reader, {0.1, 0.5}, options), InputError);  // 32 of 63 pages, 12 listed
  EXPECT_THROW(budget_statistics(reader, {}, options), InputError);
  EXPECT_THROW(budget_statistics(reader, {0.0}, options), InputError);
  EXPECT_THROW(budget_statistics(reader, {1.5}, options), InputError);
  EXPECT_THROW(budget_statistics(reader, {0.1, 0.1}, options), InputError);
}

}  // namespace
}  // namespace retrosim
