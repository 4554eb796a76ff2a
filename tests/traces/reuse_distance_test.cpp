// Reuse distances and lags by hand and against explicit sets; an LRU cache simulated beside the histogram.
#include "traces/reuse_distance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "traces/selection_lags.h"

namespace retrosim {
namespace {

std::vector<std::vector<PageId>> random_selections(std::size_t steps, std::size_t pages, std::size_t k) {
  std::mt19937_64 random(5);
  std::vector<PageId> order(pages);
  for (std::size_t i = 0; i < pages; ++i) order[i] = static_cast<PageId>(i);
  std::vector<std::vector<PageId>> result;
  for (std::size_t t = 0; t < steps; ++t) {
    for (int swap = 0; swap < 6; ++swap) std::swap(order[random() % pages], order[random() % pages]);
    result.emplace_back(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k));
  }
  return result;
}

//   t  S_t      last selected           distance |S_u u .. u S_{t-1}|
//   0  {1,2}    never, never
//   1  {2,3}    2 at 0; 3 never         {1,2}: 2
//   2  {3,4}    3 at 1; 4 never         {2,3}: 2
//   3  {1,4}    1 at 0; 4 at 2          {1,2,3,4}: 4; {3,4}: 2
TEST(ReuseTracker, FollowsTheDefinitionByHand) {
  ReuseTracker tracker(4);
  for (const std::vector<PageId>& selected : std::vector<std::vector<PageId>>{{1, 2}, {2, 3}, {3, 4}, {1, 4}}) {
    tracker.advance(selected);
  }
  const ReuseHistogram& histogram = tracker.histogram();
  EXPECT_EQ(histogram.first_visits, 4);
  EXPECT_EQ(histogram.age, (std::vector<std::int64_t>{0, 3, 0, 1}));
  EXPECT_EQ(histogram.distance, (std::vector<std::int64_t>{0, 0, 3, 0, 1}));
  EXPECT_EQ(histogram.revisits(), 4);
  EXPECT_DOUBLE_EQ(histogram.mean_age(), 1.5);
  EXPECT_DOUBLE_EQ(histogram.mean_distance(), 2.5);
  EXPECT_DOUBLE_EQ(histogram.miss_ratio(1), 1.0);
  EXPECT_DOUBLE_EQ(histogram.miss_ratio(2), 5.0 / 8);
  EXPECT_DOUBLE_EQ(histogram.miss_ratio(4), 4.0 / 8);
}

TEST(ReuseTracker, EqualsExplicitSets) {
  const auto selections = random_selections(120, 40, 8);
  ReuseTracker tracker(120);
  ReuseHistogram expected;
  for (std::size_t t = 0; t < selections.size(); ++t) {
    tracker.advance(selections[t]);
    for (const PageId page : selections[t]) {
      std::set<PageId> between;
      bool found = false;
      for (std::size_t u = t; u-- > 0 && !found;) {
        between.insert(selections[u].begin(), selections[u].end());
        found = std::find(selections[u].begin(), selections[u].end(), page) != selections[u].end();
        if (!found) continue;
        expected.age.resize(std::max(expected.age.size(), t - u + 1));
        ++expected.age[t - u];
        expected.distance.resize(std::max(expected.distance.size(), between.size() + 1));
        ++expected.distance[between.size()];
      }
      if (!found) ++expected.first_visits;
    }
  }
  EXPECT_EQ(tracker.histogram().age, expected.age);
  EXPECT_EQ(tracker.histogram().distance, expected.distance);
  EXPECT_EQ(tracker.histogram().first_visits, expected.first_visits);
}

// A cache that drops its least recently selected pages, whole steps' worth at a time as the definition counts them,
// misses what the histogram says at every capacity.
TEST(ReuseTracker, GivesTheMissesOfAnLruCacheOfAnySize) {
  const auto selections = random_selections(200, 40, 8);
  ReuseTracker tracker(200);
  for (const auto& selected : selections) tracker.advance(selected);
  for (const std::size_t capacity : {8U, 12U, 20U, 30U, 40U}) {
    std::vector<std::int64_t> last(40, -1);
    std::int64_t missed = 0;
    for (std::size_t t = 0; t < selections.size(); ++t) {
      for (const PageId page : selections[t]) {
        std::size_t newer = 0;  // pages that the cache keeps at least as long, this one included
        for (const std::int64_t other : last) newer += last[page] >= 0 && other >= last[page] ? 1 : 0;
        missed += last[page] < 0 || newer > capacity ? 1 : 0;
      }
      for (const PageId page : selections[t]) last[page] = static_cast<std::int64_t>(t);
    }
    EXPECT_DOUBLE_EQ(tracker.histogram().miss_ratio(static_cast<double>(capacity)),
                     static_cast<double>(missed) / (200.0 * 8));
  }
}

TEST(SelectionLags, EqualExplicitIntersections) {
  const auto selections = random_selections(80, 100, 20);
  SelectionLags lags(16);
  for (std::size_t t = 0; t < selections.size(); ++t) {
    const auto shared = lags.advance(selections[t]);
    ASSERT_EQ(shared.size(), std::min<std::size_t>(t, 16));
    for (std::size_t lag = 1; lag <= shared.size(); ++lag) {
      const std::set<PageId> before(selections[t - lag].begin(), selections[t - lag].end());
      std::int64_t expected = 0;
      for (const PageId page : selections[t]) expected += before.contains(page) ? 1 : 0;
      EXPECT_EQ(shared[lag - 1], expected);
    }
  }
}

}  // namespace
}  // namespace retrosim
