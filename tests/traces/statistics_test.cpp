// Trace statistics: by hand on a small trace, and their identities on random ones.
#include "traces/statistics.h"

#include <gtest/gtest.h>

#include "model/error.h"
#include "tests/traces/temporary_trace.h"
#include "traces/merged_pages.h"
#include "traces/statistics_json.h"

namespace retrosim {
namespace {

// One layer, one head, pages of 1 token, budget of 2 pages: the page being filled and the best other one. The best
// other pages are 0, 1, 0, 2, 2 at positions 4..8, the next best follow in ascending order.
//   t   S_t    in S_{t-1}  ranked 3rd or 4th or skipped 2nd at t-1          |U_1| |U_2|
//   4  {0,4}
//   5  {1,5}   none        1 (list 0 1 2 3 4: 1 is 2nd, not in S_4)         1
//   6  {0,6}   none        0 (list 1 0 2 3 ..: 0 is 2nd)                    1     0
//   7  {2,7}   none        2 (list 0 1 2 3 ..: 2 is 3rd)                    1     1
//   8  {2,8}   2           none                                             0     0
// Windows 1, 2, 3: two steps warm up, so steps 6, 7, 8 count: 6 pages, 1 in top-k, 2 in next-k, U_1 = 2, U_2 = 1.
TEST(Statistics, FollowTheDefinitionsByHand) {
  TraceHeader header = synthetic_header(4, 5);
  header.recorded_layers = {3};
  header.num_kv_heads = 1;
  header.page_size = 1;
  const std::vector<PageId> best = {0, 1, 0, 2, 2};
  std::vector<SyntheticStep> steps;
  for (std::size_t i = 0; i < best.size(); ++i) {
    SyntheticStep step;
    step.position = 4 + static_cast<std::int64_t>(i);
    step.num_pages = step.position + 1;
    std::vector<PageId> pages = {best[i]};
    for (PageId page = 0; page < step.num_pages; ++page) {
      if (page != best[i]) pages.push_back(page);
    }
    // Half of the mass on the best page, 1/16 on each other listed one: powers of two are stored exactly.
    std::vector<float> mass(pages.size(), 0.0625F);
    mass[0] = 0.5F;
    step.rest = {1.0F - 0.5F - 0.0625F * static_cast<float>(step.position)};
    step.pages = {std::move(pages)};
    step.mass = {std::move(mass)};
    steps.push_back(std::move(step));
  }
  const TemporaryTrace trace(header, steps);
  const TraceReader reader(trace.file());
  const TraceStatistics statistics =
      trace_statistics(reader, {.policy = make_policy("quest", {.budget_tokens = 2}), .windows = {1, 2, 3}});
  EXPECT_EQ(statistics.counted_steps, 3);
  EXPECT_EQ(statistics.counted_queries, 3);
  EXPECT_DOUBLE_EQ(statistics.overall.overlap_topk.value, 1.0 / 6);
  EXPECT_DOUBLE_EQ(statistics.overall.overlap_nextk->value, 2.0 / 6);
  EXPECT_DOUBLE_EQ(statistics.overall.exposure[0].value, 1);
  EXPECT_DOUBLE_EQ(statistics.overall.exposure[1].value, 1 + 2.0 / 6);
  EXPECT_DOUBLE_EQ(statistics.overall.exposure[2].value, 1 + 3.0 / 6);
  EXPECT_DOUBLE_EQ(statistics.overall.unseen_pages_mean, 1.0);
  EXPECT_DOUBLE_EQ(statistics.overall.selected_pages_mean, 2.0);
  // Queries 4, 5, 6 each have 1/2 + 1/16 on their own set; step t+1 adds one page of 1/16 to each of them; query 4
  // gains nothing at step 6 (page 0 is its own), query 5 gains page 2 at step 7, query 6 nothing at step 8. But query 5
  // at step 6 gains page 0, and query 6 at step 7 page 2.
  const double sixteenth = 1.0 / 16;
  EXPECT_NEAR(statistics.overall.mass_recall[0].value, 0.5 + sixteenth, 1e-6);
  EXPECT_NEAR(statistics.overall.mass_recall[1].value, 0.5 + 2 * sixteenth, 1e-6);
  EXPECT_NEAR(statistics.overall.mass_recall[2].value, 0.5 + (2 + 1.0 / 3) * sixteenth, 1e-6);
  ASSERT_EQ(statistics.per_layer.size(), 1U);
  EXPECT_EQ(statistics.layers[0], 3);

  const auto json = to_json(statistics);
  EXPECT_EQ(json["exposure"][2]["n"], 2);
  EXPECT_DOUBLE_EQ(json["exposure"][2]["ratio"].get<double>(), 1.5);
  EXPECT_EQ(json["mass_recall"][1]["window"], 2);
  EXPECT_EQ(json["per_layer"][0]["layer"], 3);
  EXPECT_DOUBLE_EQ(json["per_layer"][0]["overlap_topk"].get<double>(), 1.0 / 6);
}

TEST(Statistics, ExposureOfOneStepIsTwoMinusOverlapAndThreadsDoNotMatter) {
  const TraceHeader header = synthetic_header(1000, 60);
  const TemporaryTrace trace(header, drifting_steps(header, 60, 0.3));
  const TraceReader reader(trace.file());
  TraceStatisticsOptions options{.policy = make_policy("quest", {.budget = 0.15}), .windows = {1, 2, 8}};
  const TraceStatistics one = trace_statistics(reader, options);
  options.threads = 3;
  EXPECT_EQ(to_json(one).dump(), to_json(trace_statistics(reader, options)).dump());
  // Every page of S_t is in S_{t-1}, or in U_1, or begins after t-1. Steps at positions 1007..1059 count; pages begin
  // at 1008, 1024, 1040 and 1056: one loaded page in each of 4 of 53 steps.
  EXPECT_NEAR(one.overall.exposure[1].value,
              2 - one.overall.overlap_topk.value - 4.0 / 53 / one.overall.selected_pages_mean, 1e-12);
  EXPECT_LT(one.overall.mass_recall[0].value, one.overall.mass_recall[1].value);
  EXPECT_LT(one.overall.mass_recall[1].value, one.overall.mass_recall[2].value);
  EXPECT_LE(one.overall.overlap_topk.value + one.overall.overlap_nextk->value, 1.0);
  double unseen = 0;
  for (const LayerStatistics& layer : one.per_layer) unseen += layer.unseen_pages_mean / 3;
  EXPECT_NEAR(one.overall.unseen_pages_mean, unseen, 1e-9);
}

TEST(Statistics, MoreDriftMeansLessOverlapAndMoreExposure) {
  const TraceHeader header = synthetic_header(2000, 60);
  double overlap = 1.01;
  double exposure = 0;
  for (const double drift : {0.0, 0.1, 0.5, 1.0}) {
    const TemporaryTrace trace(header, drifting_steps(header, 60, drift));
    const TraceReader reader(trace.file());
    const TraceStatistics statistics = trace_statistics(reader, {.policy = make_policy("quest", {.budget = 0.15})});
    EXPECT_LT(statistics.overall.overlap_topk.value, overlap);
    EXPECT_GT(statistics.overall.exposure.back().value, exposure);
    overlap = statistics.overall.overlap_topk.value;
    exposure = statistics.overall.exposure.back().value;
  }
}

TEST(Statistics, RefusesWhatItCannotAnswer) {
  TraceHeader header = synthetic_header(1000, 20);
  header.top_m = 12;
  const TemporaryTrace trace(header, drifting_steps(header, 10, 0.3));
  const TraceReader reader(trace.file());
  EXPECT_THROW(trace_statistics(reader, {.policy = make_policy("quest", {.budget = 0.15}), .windows = {16}}),
               InputError);
  EXPECT_THROW(trace_statistics(reader, {.policy = make_policy("quest", {.budget = 0.15}), .windows = {0}}),
               InputError);
  EXPECT_THROW(trace_statistics(reader, {.policy = make_policy("quest", {.budget = 0.15}), .windows = {}}), InputError);
  EXPECT_THROW(trace_statistics(reader, {.policy = make_policy("quest", {.budget = 0.5}), .windows = {2}}), InputError);
  // 10 of 63 pages, 12 listed: the next 10 are not known.
  const auto statistics = trace_statistics(reader, {.policy = make_policy("quest", {.budget = 0.15}), .windows = {2}});
  EXPECT_FALSE(statistics.overall.overlap_nextk.has_value());
  EXPECT_TRUE(to_json(statistics)["overlap_nextk"].is_null());
  const auto info = trace_info_json(reader);
  EXPECT_EQ(info["num_steps"], 10);
  EXPECT_EQ(info["ranked_entries"], 10 * 12 * 3 * 2);
  EXPECT_EQ(info["last_context_tokens"], 1010);
  EXPECT_EQ(info["truncated"], false);
}

// Lag 1 over steps t >= 1, and the later steps' parts sum to exposure and recall.
TEST(Statistics, LaterStepsSumToExposureAndRecall) {
  const TraceHeader header = synthetic_header(990, 60);
  const TemporaryTrace trace(header, drifting_steps(header, 60, 0.3));
  const TraceReader reader(trace.file());
  const TraceStatistics statistics = trace_statistics(reader, {.policy = make_policy("quest", {.budget = 0.15}),
                                                               .windows = {1, 2, 8},
                                                               .intervals = true,
                                                               .max_lag = 64,
                                                               .reuse = true});
  const LayerStatistics& all = statistics.overall;
  ASSERT_EQ(all.new_pages.size(), 7U);
  double exposure = 1;
  double recall = all.mass_recall[0].value;
  for (std::size_t n = 0; n < 7; ++n) {
    exposure += all.new_pages[n].value;
    recall += all.mass_gained[n].value;
  }
  EXPECT_NEAR(exposure, all.exposure[2].value, 1e-12);
  EXPECT_NEAR(recall, all.mass_recall[2].value, 1e-12);
  ASSERT_EQ(all.overlap_by_lag.size(), 59U);  // cut to the steps there are
  EXPECT_NEAR(all.overlap_by_lag[0].value, all.overlap_topk.value, 0.02);
  EXPECT_LT(all.overlap_by_lag[31].value, all.overlap_by_lag[0].value);
  for (const Estimate& estimate : all.exposure) {
    EXPECT_LE(estimate.interval.low, estimate.value + 1e-12);
    EXPECT_GE(estimate.interval.high, estimate.value - 1e-12);
  }
  // 62 to 66 pages, of which each of 60 steps, 3 layers and 2 heads selects 10.
  EXPECT_EQ(all.reuse.first_visits + all.reuse.revisits(), 10 * 60 * 6);
  EXPECT_EQ(statistics.per_head.size(), 6U);
  double overlap = 0;
  for (const HeadStatistics& head : statistics.per_head) overlap += head.overlap_topk / 6;
  EXPECT_NEAR(overlap, all.overlap_topk.value, 1e-12);  // all heads select equally many
}

// Pages 3, 0, 5, 1 of 16 tokens, merged in pairs: 1 (of 3), 0 (of 0 and 1), 2 (of 5).
TEST(MergedPages, RankAsTheirBestPartAndAddMasses) {
  const std::vector<PageId> pages = {3, 0, 5, 1, 2, 4};
  const std::vector<float> mass = {0.25F, 0.125F, 0.0625F, 0.0625F, 0.25F, 0.25F};
  MergedPages merge(2);
  const HeadRanking merged = merge.merge({.position = 85, .num_pages = 6, .pages = pages, .mass = mass, .rest = 0});
  EXPECT_EQ(std::vector<PageId>(merged.pages.begin(), merged.pages.end()), (std::vector<PageId>{1, 0, 2}));
  EXPECT_EQ(std::vector<float>(merged.mass.begin(), merged.mass.end()), (std::vector<float>{0.5F, 0.1875F, 0.3125F}));
  EXPECT_EQ(merged.num_pages, 3);
  EXPECT_EQ(MergedPages(4).merge({.position = 85, .num_pages = 6, .pages = pages, .mass = mass}).num_pages, 2);
}

// A part of the trace is what a recording of that part would be.
TEST(Statistics, OfAPartAreThoseOfATraceOfThatPart) {
  const TraceHeader header = synthetic_header(1000, 60);
  const auto steps = drifting_steps(header, 60, 0.3);
  const TemporaryTrace whole(header, steps);
  TraceHeader later = header;
  later.first_position += 25;
  const TemporaryTrace part(later, {steps.begin() + 25, steps.begin() + 50});
  TraceStatisticsOptions options{.policy = make_policy("quest", {.budget = 0.15}), .windows = {1, 8}, .max_lag = 8};
  const auto expected = to_json(trace_statistics(TraceReader(part.file()), options));
  options.first_step = 25;
  options.num_steps = 25;
  EXPECT_EQ(to_json(trace_statistics(TraceReader(whole.file()), options)).dump(), expected.dump());
  options.first_step = 60;
  EXPECT_THROW(trace_statistics(TraceReader(whole.file()), options), InputError);
}

}  // namespace
}  // namespace retrosim
