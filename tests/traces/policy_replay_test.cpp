// Every policy through the replay: what is unseen, what is recalled, what is kept.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "traces/replay.h"

namespace retrosim {
namespace {

constexpr int kPageSize = 4;
constexpr int kWindow = 8;

/// A context of 100 to 160 tokens whose pages' masses drift from step to step.
class DriftingHead {
 public:
  explicit DriftingHead(unsigned seed) : random_(seed) {}

  HeadRanking next() {
    const std::int64_t num_pages = (position_ + kPageSize) / kPageSize;
    std::uniform_real_distribution<float> uniform(0.1F, 1.0F);
    interest_.resize(static_cast<std::size_t>(num_pages), 1.0F);
    float total = 0;
    for (float& interest : interest_) total += interest = 0.8F * interest + 0.2F * uniform(random_);
    pages_.resize(interest_.size());
    std::iota(pages_.begin(), pages_.end(), PageId{0});
    std::stable_sort(pages_.begin(), pages_.end(), [&](PageId a, PageId b) { return interest_[a] > interest_[b]; });
    mass_.clear();
    for (const PageId page : pages_) mass_.push_back(interest_[page] / total);
    return {.position = position_++, .num_pages = num_pages, .pages = pages_, .mass = mass_};
  }

 private:
  std::mt19937 random_;
  std::int64_t position_ = 100;
  std::vector<float> interest_;
  std::vector<PageId> pages_;
  std::vector<float> mass_;
};

class ReplayOfEveryPolicy : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Names, ReplayOfEveryPolicy, ::testing::ValuesIn(policy_names()),
                         [](const auto& param_info) { return param_info.param; });

TEST_P(ReplayOfEveryPolicy, UnseenPagesAreThoseThatExplicitSetsSay) {
  // magicpig always keeps 64 + 4 tokens, 17 of these small pages.
  const auto policy = make_policy(GetParam(), {.budget = GetParam() == "magicpig" ? 0.8 : 0.3});
  HeadReplay replay(*policy, kPageSize, kWindow, true);
  DriftingHead head(7);
  std::vector<std::set<PageId>> sets;
  std::int64_t unseen_in_all = 0;
  for (int t = 0; t < 60; ++t) {
    const HeadStep& step = replay.advance(head.next());
    sets.emplace_back(replay.selected().begin(), replay.selected().end());
    EXPECT_EQ(static_cast<std::int64_t>(sets.back().size()), step.pages_loaded);
    for (int s = 1; s < kWindow && s <= t; ++s) {
      // U_s: in S_t, in none of S_{t-s} .. S_{t-1}, and holding a position that query t-s may see.
      std::int64_t unseen = 0;
      for (const PageId page : sets.back()) {
        bool seen = static_cast<std::int64_t>(page) * kPageSize > step.position - s;
        for (int m = 1; m <= s; ++m) seen = seen || sets[static_cast<std::size_t>(t - m)].contains(page);
        unseen += seen ? 0 : 1;
      }
      EXPECT_EQ(step.unseen[static_cast<std::size_t>(s)], unseen) << GetParam() << " step " << t << " query -" << s;
      unseen_in_all += unseen;
    }
    // Reused selections: something is unseen by the query just before only when a new list is made.
    if ((GetParam() == "reuse" || GetParam() == "lserve") && step.position % 4 != 0) {
      EXPECT_EQ(step.unseen[1], 0);
    }
    EXPECT_GE(step.pages_recalled, 0);
    EXPECT_LE(step.pages_recalled, step.pages_loaded);
  }
  if (policy->can_return_to_skipped_pages()) {
    EXPECT_GT(unseen_in_all, 0);
  } else {
    EXPECT_EQ(unseen_in_all, 0);  // a window on it is pure cost
  }
}

// What is recalled was not resident, and what is resident fits: with room for the whole context nothing is recalled.
TEST(ReplayOfRecallingPolicies, RecallNothingWhenEverythingFits) {
  const std::vector<std::pair<std::string, PolicyParams>> roomy{
      {"arkvale", {.budget = 0.3, .options = {{"capacity_ratio", 4}}}},
      {"pqcache", {.budget = 0.3, .options = {{"cache_tokens", 4096}}}}};
  for (const auto& [name, params] : roomy) {
    const auto policy = make_policy(name, params);
    HeadReplay replay(*policy, kPageSize, 1, false);
    DriftingHead head(3);
    for (int t = 0; t < 60; ++t) EXPECT_EQ(replay.advance(head.next()).pages_recalled, 0) << name << ' ' << t;
  }
}

// IceCache holds only the latest selection: its recalls are S_t without S_{t-1} and new pages, which is what a window
// of 2 finds unseen.
TEST(ReplayOfRecallingPolicies, IceCacheRecallsWhatTheLastStepDidNotSelect) {
  const auto policy = make_policy("icecache", {.budget = 0.4});
  HeadReplay replay(*policy, kPageSize, 2, false);
  DriftingHead head(5);
  std::int64_t recalled = 0;
  for (int t = 0; t < 60; ++t) {
    const HeadStep& step = replay.advance(head.next());
    EXPECT_EQ(step.pages_recalled, step.unseen[1]) << t;
    recalled += step.pages_recalled;
  }
  EXPECT_GT(recalled, 0);
}

// More room never means more recalls over the whole run.
TEST(ReplayOfRecallingPolicies, ALargerCacheRecallsLess) {
  std::vector<std::int64_t> recalls;
  for (const double ratio : {1.0, 1.5, 2.0, 3.0}) {
    const auto policy = make_policy("arkvale", {.budget = 0.3, .options = {{"capacity_ratio", ratio}}});
    HeadReplay replay(*policy, kPageSize, 1, false);
    DriftingHead head(9);
    std::int64_t sum = 0;
    for (int t = 0; t < 60; ++t) sum += replay.advance(head.next()).pages_recalled;
    recalls.push_back(sum);
  }
  EXPECT_TRUE(std::is_sorted(recalls.rbegin(), recalls.rend()));
  EXPECT_GT(recalls.front(), recalls.back());
}

}  // namespace
}  // namespace retrosim
