// Selection rules of the single policies over a few steps, by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/policy.h"

namespace retrosim {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

/// One step over pages 0 .. mass.size() - 1, ranked by their mass.
class Steps {
 public:
  explicit Steps(std::string_view policy, const PolicyParams& params) : policy_(make_policy(policy, params)) {}

  const std::vector<PageId>& next(const std::vector<float>& mass, std::int64_t position = -1) {
    std::vector<PageId> pages(mass.size());
    for (std::size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<PageId>(i);
    std::stable_sort(pages.begin(), pages.end(), [&](PageId a, PageId b) { return mass[a] > mass[b]; });
    std::vector<float> ranked_mass;
    for (const PageId page : pages) ranked_mass.push_back(mass[page]);
    policy_->select_next({.pages = pages,
                          .num_pages = static_cast<std::int64_t>(pages.size()),
                          .mass = ranked_mass,
                          .position = position},
                         16, memory_, selected_);
    return selected_;
  }
  std::int64_t recalled() const { return memory_.recalled; }

 private:
  std::shared_ptr<const Policy> policy_;
  SelectionMemory memory_;
  std::vector<PageId> selected_;
};

TEST(TovaPolicy, DropsWhatTheQueryBeforeSawLeast) {
  Steps tova("tova", {.budget_tokens = 3 * 16});
  // Its own masses at the first step: 1 and 2 beside the open page 4.
  EXPECT_THAT(tova.next({0.1F, 0.4F, 0.3F, 0.1F, 0.1F}), ElementsAre(1, 2, 4));
  // Nothing new, nothing leaves, whatever the masses.
  EXPECT_THAT(tova.next({0.5F, 0.05F, 0.4F, 0.0F, 0.05F}), ElementsAre(1, 2, 4));
  // Page 5 is new. Of 1, 2 and 4 the query before gave 1 and 4 the least, 0.05 each of 0.5: ties keep the lower page.
  EXPECT_THAT(tova.next({0.5F, 0.1F, 0.1F, 0.1F, 0.1F, 0.1F}), ElementsAre(1, 2, 5));
}

TEST(H2oPolicy, KeepsHeavyHittersAndTheMostRecentHalf) {
  Steps h2o("h2o", {.budget_tokens = 4 * 16});  // 2 heavy, 2 recent
  EXPECT_THAT(h2o.next({0.3F, 0.1F, 0.4F, 0.1F, 0.05F, 0.05F}), ElementsAre(0, 2, 4, 5));
  // Accumulated 0: .3, 2: .4, 4: .05, 5: .05. With page 6, 5 and 6 are recent; of 0, 2 and 4 the last has the least.
  EXPECT_THAT(h2o.next({0.1F, 0.1F, 0.1F, 0.1F, 0.5F, 0.05F, 0.05F}), ElementsAre(0, 2, 5, 6));
  // Page 7: recent 6 and 7; masses of the step before over 0, 2, 5, 6 (sum 0.3): 5 has .05 + .167.
  EXPECT_THAT(h2o.next({0.1F, 0.1F, 0.1F, 0.1F, 0.1F, 0.3F, 0.1F, 0.1F}), ElementsAre(0, 2, 6, 7));
}

TEST(SnapKvPolicy, ChoosesOnceAndKeepsWhatIsGenerated) {
  Steps snapkv("snapkv", {.budget_tokens = 4 * 16});  // its window of 32 tokens is 2 pages
  EXPECT_THAT(snapkv.next({0.1F, 0.4F, 0.1F, 0.2F, 0.1F, 0.1F}), ElementsAre(1, 3, 4, 5));
  EXPECT_THAT(snapkv.next({0.9F, 0, 0, 0, 0, 0, 0.1F}), ElementsAre(1, 3, 4, 5, 6));
  EXPECT_THAT(snapkv.next({0.9F, 0, 0, 0, 0, 0, 0, 0.1F}), ElementsAre(1, 3, 4, 5, 6, 7));
}

TEST(MorphKvPolicy, ForgetsVotesOfQueriesOlderThanR) {
  Steps morphkv("morphkv", {.budget_tokens = 3 * 16, .options = {{"recent_queries", 2}}});  // 1 recent page
  EXPECT_THAT(morphkv.next({0.5F, 0.3F, 0.1F, 0.1F}), ElementsAre(0, 1, 3));
  morphkv.next({0, 0.9F, 0, 0.1F});
  morphkv.next({0, 0.1F, 0, 0.9F});
  // The two latest queries gave 0: 0, 1: 1.0, 3: 1.0; the first one's 0.5 for page 0 is forgotten.
  EXPECT_THAT(morphkv.next({0.2F, 0.2F, 0.2F, 0.2F, 0.2F}), ElementsAre(1, 3, 4));
}

TEST(KeyformerPolicy, AccumulatesLikeHeavyHitters) {
  Steps keyformer("keyformer", {.budget_tokens = 3 * 16});  // round(0.3 * 3) = 1 recent page
  EXPECT_THAT(keyformer.next({0.1F, 0.4F, 0.1F, 0.3F, 0.1F}), ElementsAre(1, 3, 4));
}

TEST(ReusePolicy, MakesANewListAtMultiplesOfTheInterval) {
  Steps reuse("reuse", {.budget_tokens = 3 * 16, .options = {{"interval", 4}}});
  EXPECT_THAT(reuse.next({0.4F, 0.3F, 0.2F, 0.05F, 0.05F}, 76), UnorderedElementsAre(0, 1, 4));
  EXPECT_THAT(reuse.next({0, 0, 0.5F, 0.4F, 0.1F}, 77), UnorderedElementsAre(0, 1, 4));
  // The new page 5 pushes out the list's worst, page 1.
  EXPECT_THAT(reuse.next({0, 0, 0.5F, 0.4F, 0.1F, 0}, 78), UnorderedElementsAre(0, 4, 5));
  EXPECT_THAT(reuse.next({0, 0, 0.5F, 0.4F, 0.1F, 0}, 80), UnorderedElementsAre(2, 3, 5));
}

TEST(LServePolicy, ReusesItsListToo) {
  Steps lserve("lserve", {.budget_tokens = 3 * 16});
  EXPECT_THAT(lserve.next({0.4F, 0.3F, 0.2F, 0.05F, 0.05F}, 80), UnorderedElementsAre(0, 1, 4));
  EXPECT_THAT(lserve.next({0, 0, 0.5F, 0.4F, 0.1F}, 83), UnorderedElementsAre(0, 1, 4));
  EXPECT_THAT(lserve.next({0, 0, 0.5F, 0.4F, 0.1F, 0}, 84), UnorderedElementsAre(2, 3, 5));
}

// No sinks, one recent page: 3 of 6 pages, 4 of them fit (capacity_ratio 4/3).
TEST(ArkvalePolicy, RecallsWhatIsNotResidentAndEvictsTheLowestRanked) {
  const PolicyParams params{.budget_tokens = 3 * 16,
                            .options = {{"capacity_ratio", 1.34}, {"sink_pages", 0}, {"recent_pages", 1}}};
  Steps arkvale("arkvale", params);
  // Resident afterwards: 0, 1, 5 and the next best, 2.
  EXPECT_THAT(arkvale.next({0.4F, 0.3F, 0.2F, 0.06F, 0.04F, 0}), UnorderedElementsAre(0, 1, 5));
  EXPECT_EQ(arkvale.recalled(), 0);
  // 2 is there, 3 is not. Of the residents 0 and 1 the lower ranked, 1, leaves.
  EXPECT_THAT(arkvale.next({0.2F, 0.1F, 0.3F, 0.4F, 0, 0}), UnorderedElementsAre(3, 2, 5));
  EXPECT_EQ(arkvale.recalled(), 1);
  EXPECT_THAT(arkvale.next({0.4F, 0.3F, 0.2F, 0.1F, 0, 0}), UnorderedElementsAre(0, 1, 5));
  EXPECT_EQ(arkvale.recalled(), 1);  // 1; 0 had stayed
  // A page that is new was written on the GPU.
  EXPECT_THAT(arkvale.next({0.4F, 0.3F, 0.2F, 0.1F, 0, 0, 0}), UnorderedElementsAre(0, 1, 6));
  EXPECT_EQ(arkvale.recalled(), 0);
}

TEST(ArkvalePolicy, ReleasedAttendsToEverythingResident) {
  const PolicyParams params{.budget_tokens = 4 * 16,
                            .variant = PolicyVariant::released,
                            .options = {{"sink_pages", 0}, {"recent_pages", 1}}};  // ranks 2 pages into 4
  Steps arkvale("arkvale", params);
  EXPECT_THAT(arkvale.next({0.4F, 0.3F, 0.2F, 0.06F, 0.04F, 0}), ElementsAre(0, 1, 2, 5));
  EXPECT_THAT(arkvale.next({0.3F, 0.2F, 0.1F, 0, 0.4F, 0}), ElementsAre(0, 1, 4, 5));
  EXPECT_EQ(arkvale.recalled(), 1);
}

// 2 sink pages (32 tokens), 2 local ones of a budget of 5, one selected; a cache of one page more.
TEST(PqCachePolicy, RecallsThroughALeastFrequentlyUsedCache) {
  Steps pqcache("pqcache", {.budget_tokens = 5 * 16, .options = {{"cache_tokens", 32}}});
  EXPECT_THAT(pqcache.next({0, 0, 0.5F, 0.3F, 0.2F, 0, 0, 0}), UnorderedElementsAre(0, 1, 2, 6, 7));
  EXPECT_EQ(pqcache.recalled(), 0);
  pqcache.next({0, 0, 0.5F, 0.3F, 0.2F, 0, 0, 0});  // 2 used twice; resident: 0 1 2 3 6 7
  EXPECT_THAT(pqcache.next({0, 0, 0.1F, 0.3F, 0.6F, 0, 0, 0}), UnorderedElementsAre(0, 1, 4, 6, 7));
  EXPECT_EQ(pqcache.recalled(), 1);  // 4 comes, 3 (never used) leaves, 2 stays
  pqcache.next({0, 0, 0.5F, 0.3F, 0.2F, 0, 0, 0});
  EXPECT_EQ(pqcache.recalled(), 0);
}

TEST(IceCachePolicy, HoldsTheLatestSelectionOnly) {
  Steps icecache("icecache", {.budget_tokens = 5 * 16});  // 2 sinks, 2 recent, 1 from the tree
  EXPECT_THAT(icecache.next({0, 0, 0.5F, 0.3F, 0.2F, 0, 0, 0}), UnorderedElementsAre(0, 1, 2, 6, 7));
  icecache.next({0, 0, 0.1F, 0.3F, 0.6F, 0, 0, 0});
  EXPECT_EQ(icecache.recalled(), 1);
  icecache.next({0, 0, 0.5F, 0.3F, 0.2F, 0, 0, 0});
  EXPECT_EQ(icecache.recalled(), 1);  // 2 had left
}

}  // namespace
}  // namespace retrosim
