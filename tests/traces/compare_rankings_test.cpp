#include "traces/compare_rankings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "model/error.h"
#include "traces/trace_writer.h"

namespace retrosim {
namespace {

/// One layer, one KV head, four pages of 4 tokens, two steps from position 12.
std::filesystem::path write(const char* name, const std::vector<PageId>& first, const std::vector<PageId>& second,
                            std::int64_t first_position = 12) {
  const std::filesystem::path file =
      std::filesystem::path(testing::TempDir()) / (std::to_string(::getpid()) + "_" + name);
  TraceHeader header;
  header.num_layers = 1;
  header.recorded_layers = {0};
  header.num_q_heads = 1;
  header.num_kv_heads = 1;
  header.head_dim = 8;
  header.page_size = 4;
  header.num_tokens = 16;
  header.prompt_tokens = first_position;
  header.first_position = first_position;
  TraceWriter writer(file, header);
  const std::vector<float> mass{0.5F, 0.25F, 0.125F, 0.125F};
  std::int64_t position = first_position;
  for (const auto* pages : {&first, &second}) {
    writer.add_step({.position = position++, .num_pages = 4, .heads = {{.pages = *pages, .mass = mass, .rest = 0}}});
  }
  writer.close();
  return file;
}

TEST(CompareRankings, CountsRanksAndTheBestPages) {
  const auto a = write("compare_a.rtrace", {0, 1, 2, 3}, {3, 2, 1, 0});
  const auto b = write("compare_b.rtrace", {0, 1, 2, 3}, {2, 3, 1, 0});
  const RankingComparison c = compare_rankings(TraceReader(a.string()), TraceReader(b.string()), 0.25);
  // The first step is equal; in the second two of four ranks are, and the best page (k = 1) is another one. Its masses
  // differ by 0.25 on pages 2 and 3: 0.5 in all, over two lists.
  EXPECT_EQ(c.steps, 2);
  EXPECT_EQ(c.lists, 2);
  EXPECT_DOUBLE_EQ(c.same_order, 0.5);
  EXPECT_DOUBLE_EQ(c.same_ranks, 0.75);
  EXPECT_DOUBLE_EQ(c.top_k_overlap, 0.5);
  EXPECT_NEAR(c.mass_difference, 0.25, 0.01);
  // k = 2: the two best are the same pages.
  EXPECT_DOUBLE_EQ(compare_rankings(TraceReader(a.string()), TraceReader(b.string()), 0.5).top_k_overlap, 1);
}

TEST(CompareRankings, AlignsByPosition) {
  const auto a = write("compare_a.rtrace", {0, 1, 2, 3}, {3, 2, 1, 0});
  const auto b = write("compare_b.rtrace", {3, 2, 1, 0}, {0, 1, 2, 3}, 13);
  const RankingComparison c = compare_rankings(TraceReader(a.string()), TraceReader(b.string()), 0.25);
  EXPECT_EQ(c.steps, 1);
  EXPECT_DOUBLE_EQ(c.same_order, 1);
  EXPECT_THROW(compare_rankings(TraceReader(a.string()), TraceReader(b.string()), 0), InputError);
}

}  // namespace
}  // namespace retrosim
