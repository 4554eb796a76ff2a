#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/page_score/page_score.h"
#include "kernels/page_summary/page_summary.h"
#include "kernels/top_k/top_k.h"
#include "tests/kernels/random_kv.h"

namespace retrosim::kernels::host {
namespace {

using ::testing::ElementsAre;

// One sequence of 3 tokens, pages of 2, one KV head, head_dim 2. Keys: (1,-2) (3,-5) | (0,4). Values are zero.
struct ThreeTokens {
  KvShape shape{.num_pages = 2, .num_kv_heads = 1, .page_size = 2, .head_dim = 2};
  std::vector<std::int32_t> physical{1, 0};  // logical page 0 lies on physical page 1
  std::vector<std::int32_t> context_lens{3};
  // physical 0: keys (0,4) (9,9: beyond the context), values; physical 1: keys (1,-2) (3,-5), values
  std::vector<float> cache{0, 4, 9, 9, 0, 0, 0, 0, 1, -2, 3, -5, 0, 0, 0, 0};
  PageTable table{.batch = 1, .max_pages = 2, .physical = physical, .context_lens = context_lens};
};

TEST(PageSummary, IsTheMinimumAndMaximumOfTheKeysInTheContext) {
  const ThreeTokens kv;
  std::vector<float> summaries(8, 77.0F);
  build_page_summaries(kv.shape, kv.table, kv.cache, summaries);
  EXPECT_THAT(summaries, ElementsAre(0, 4, 0, 4, 1, -5, 3, -2));
}

TEST(PageSummary, RecomputingShrinksAfterAnOverwriteAndWideningDoesNot) {
  ThreeTokens kv;
  std::vector<float> summaries(8);
  build_page_summaries(kv.shape, kv.table, kv.cache, summaries);
  std::vector<float> widened = summaries;
  kv.cache[10] = 2;  // key of token 1 becomes (2, -1)
  kv.cache[11] = -1;
  const std::vector<std::int32_t> touched{2};  // tokens 1 and 2: both pages
  recompute_page_summaries(kv.shape, kv.table, touched, kv.cache, summaries);
  EXPECT_THAT(summaries, ElementsAre(0, 4, 0, 4, 1, -2, 2, -1));
  widen_page_summaries(kv.shape, kv.table, touched, kv.cache, widened);
  EXPECT_THAT(widened, ElementsAre(0, 4, 0, 4, 1, -5, 3, -1));
}

TEST(PageScore, IsQuestsUpperBoundReducedOverTheGroup) {
  const ThreeTokens kv;
  std::vector<float> summaries(8);
  build_page_summaries(kv.shape, kv.table, kv.cache, summaries);
  // Page 0 has min (1,-5), max (3,-2); page 1 both (0,4).
  // Head 0, q = (2, 1): page 0: 6 - 2 = 4; page 1: 0 + 4 = 4. Head 1, q = (-1, -1): page 0: -1 + 5 = 4; page 1: 0 - 4 =
  // -4.
  const std::vector<float> q{2, 1, -1, -1};
  std::vector<float> scores(2);
  page_scores(kv.shape, kv.table, 2, GroupReduction::max, q, 4, summaries, scores);
  EXPECT_THAT(scores, ElementsAre(4, 4));
  page_scores(kv.shape, kv.table, 2, GroupReduction::mean, q, 4, summaries, scores);
  EXPECT_THAT(scores, ElementsAre(4, 0));
  scores.resize(4);
  page_scores(kv.shape, kv.table, 2, GroupReduction::per_query_head, q, 4, summaries, scores);
  EXPECT_THAT(scores, ElementsAre(4, 4, 4, -4));
}

TEST(PageScore, BoundsEveryProductOfQueryAndKeyOnThePage) {
  std::mt19937 random(5);
  const RandomKv kv({37, 20}, 2, 4, 8, random);
  std::vector<float> summaries(kv.shape.summary_size());
  build_page_summaries(kv.shape, kv.table(), kv.cache, summaries);
  const std::vector<float> q = random_floats(2 * 4 * 8, random);
  std::vector<float> scores(2 * 2 * kv.max_pages);
  page_scores(kv.shape, kv.table(), 4, GroupReduction::max, q, 32, summaries, scores);
  for (int b = 0; b < 2; ++b) {
    for (int position = 0; position < kv.context_lens[b]; ++position) {
      for (int head = 0; head < 4; ++head) {
        double dot = 0;
        for (int i = 0; i < 8; ++i) dot += q[(b * 4 + head) * 8 + i] * kv.key(b, head / 2, position)[i];
        EXPECT_LE(dot, scores[(b * 2 + head / 2) * kv.max_pages + position / 4] + 1e-4);
      }
    }
  }
  EXPECT_EQ(scores[1 * 2 * kv.max_pages + 5], -INFINITY);  // the second sequence has 5 pages
}

TEST(TopK, KeepsThePageBeingFilledAndGivesTiesToTheLowerId) {
  const std::vector<std::int32_t> physical(6), context_lens{11};  // pages of 2: 6 pages, the last one being filled
  const PageTable table{.batch = 1, .max_pages = 6, .physical = physical, .context_lens = context_lens};
  const std::vector<float> scores{1, 5, 3, 5, 5, -9};
  std::vector<std::int32_t> selected(4), counts(1);
  select_top_k(table, 2, 1, 4, scores, std::vector<std::int32_t>{3}, selected, counts);
  EXPECT_THAT(selected, ElementsAre(1, 3, 5, -1));
  EXPECT_THAT(counts, ElementsAre(3));
  select_top_k(table, 2, 1, 4, scores, std::vector<std::int32_t>{1}, selected, counts);
  EXPECT_THAT(selected, ElementsAre(5, -1, -1, -1));
}

TEST(TopK, TakesEveryPageWhenTheBudgetIsLarger) {
  const std::vector<std::int32_t> physical(3), context_lens{3};
  const PageTable table{.batch = 1, .max_pages = 3, .physical = physical, .context_lens = context_lens};
  std::vector<std::int32_t> selected(5), counts(1);
  select_top_k(table, 1, 1, 5, std::vector<float>{-1, 0, 2}, std::vector<std::int32_t>{5}, selected, counts);
  EXPECT_THAT(selected, ElementsAre(0, 1, 2, -1, -1));
  EXPECT_THAT(counts, ElementsAre(3));
}

}  // namespace
}  // namespace retrosim::kernels::host
