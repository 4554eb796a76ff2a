// Synthetic traces: their container, determinism and shapes; the parts that they are put together from.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <numeric>

#include "model/error.h"
#include "tests/traces/temporary_trace.h"
#include "traces/synthesis/held_out.h"
#include "traces/synthesis/synthesize.h"
#include "traces/synthesis/synthetic_list.h"

namespace retrosim {
namespace {

std::filesystem::path scratch(const std::string& name) {
  return std::filesystem::path(testing::TempDir()) / ("retrosim_synthesis_" + std::to_string(::getpid()) + name);
}

std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Phi(1) = 0.8413447461, Phi(-3) = 0.0013498980.
TEST(NormalQuantile, InvertsTheDistribution) {
  EXPECT_NEAR(normal_quantile(0.5), 0, 1e-12);
  EXPECT_NEAR(normal_quantile(0.8413447460685429), 1, 1e-8);
  EXPECT_NEAR(normal_quantile(0.0013498980316301), -3, 1e-8);
  EXPECT_NEAR(normal_quantile(0.9986501019683699), 3, 1e-8);
}

// The path keeps the fill of the open page: recorded and synthetic positions agree modulo the page size.
TEST(StepPath, KeepsThePhaseAndTheRange) {
  const StepPathShape shape{
      .recorded_steps = 96, .recorded_position = 8003, .first_position = 30001, .steps = 5000, .page_size = 16};
  const StepPath path = make_step_path(shape, 3);
  ASSERT_EQ(path.factor.size(), 5000U);
  std::int64_t followed = 0;
  for (std::size_t i = 0; i < path.factor.size(); ++i) {
    ASSERT_GE(path.factor[i], 0);
    ASSERT_LT(path.factor[i], 96);
    ASSERT_GE(path.residual[i], 0);
    ASSERT_LT(path.residual[i], 96);
    ASSERT_EQ((8003 + path.factor[i]) % 16, (30001 + static_cast<std::int64_t>(i)) % 16);
    followed += i > 0 && path.factor[i] == path.factor[i - 1] + 1 ? 1 : 0;
  }
  EXPECT_GT(followed, 4600);  // blocks of 24 steps at least
  EXPECT_EQ(make_step_path(shape, 3).factor, path.factor);
  EXPECT_NE(make_step_path(shape, 4).factor, path.factor);
  EXPECT_THROW(make_step_path({.recorded_steps = 40, .steps = 1, .page_size = 16}, 1), std::invalid_argument);
}

TEST(PageLayout, KeepsSinksAndOrderAndCopiesEvenly) {
  // 100 bulk pages recorded, 216 pages at first: 200 bulk pages; 4 sinks, 196 pages for 96 sources.
  const PageLayout layout = make_page_layout(100, 216, 240, 1);
  for (std::int32_t page = 0; page < 4; ++page) EXPECT_EQ(layout.source[static_cast<std::size_t>(page)], page);
  for (std::size_t page = 1; page < 200; ++page) {
    EXPECT_GE(layout.source[page], layout.source[page - 1]);
    EXPECT_LE(layout.source[page], layout.source[page - 1] + 1);
    if (layout.source[page] == layout.source[page - 1]) {
      EXPECT_EQ(layout.copy[page], layout.copy[page - 1] + 1);
    }
  }
  EXPECT_EQ(layout.source[199], 99);
  EXPECT_EQ(layout.copies, 4);  // ceil(196 / 96) = 3, and one for the pages that come
  for (std::size_t page = 200; page < 240; ++page) {
    EXPECT_GE(layout.source[page], 50);
    EXPECT_LT(layout.source[page], 100);
    EXPECT_EQ(layout.copy[page], 3);
  }
  const PageLayout same = make_page_layout(100, 116, 116, 1);
  for (std::int32_t page = 0; page < 100; ++page) EXPECT_EQ(same.source[static_cast<std::size_t>(page)], page);
  EXPECT_EQ(same.copies, 1);
}

// The recorded step's own factors and residuals give back its ranking.
TEST(RankModel, GivesBackWhatItWasFittedTo) {
  const TraceHeader header = synthetic_header(1000, 60);
  const TemporaryTrace trace(header, drifting_steps(header, 60, 0.3));
  const TraceReader reader(trace.file());
  const auto lists = recorded_lists_of(reader, 1, 3, 50);
  ASSERT_EQ(lists.size(), 2U);
  const RankModel model(lists[1]);
  EXPECT_EQ(model.bulk_pages(), lists[1].num_pages(0) - 16);
  EXPECT_GT(model.factor_share(), 0.2);
  EXPECT_LE(model.factor_share(), 1.0);
  std::vector<float> z, y;
  for (const std::int64_t t : {0, 17, 49}) {
    model.rows(t, t, z, y);
    const std::int64_t pages = lists[1].num_pages(t);
    for (std::int64_t page = 0; page < model.bulk_pages(); ++page) {
      const double place = (static_cast<double>(pages - lists[1].rank_of(t, page)) - 0.5) / static_cast<double>(pages);
      EXPECT_NEAR(z[static_cast<std::size_t>(page)], normal_quantile(place), 2e-3);
    }
    EXPECT_NEAR(y[static_cast<std::size_t>(model.bulk_pages())], std::log(lists[1].mass_of(t, pages - 1)), 2e-3);
  }
}

class Synthesis : public ::testing::Test {
 protected:
  TraceHeader header_ = synthetic_header(1000, 160);
  TemporaryTrace trace_{header_, drifting_steps(header_, 160, 0.3)};
  TraceReader reader_{trace_.file()};
  std::filesystem::path out_ = scratch("a.rtrace");
  std::filesystem::path again_ = scratch("b.rtrace");

  void TearDown() override {
    std::filesystem::remove(out_);
    std::filesystem::remove(again_);
  }
};

TEST_F(Synthesis, WritesATraceOfTheShapeAskedFor) {
  SynthesisOptions options{.context = 4000, .steps = 70, .num_layers = 5, .num_kv_heads = 7, .threads = 2};
  options.label = "synthetic, label";
  const SynthesisResult result = synthesize({&reader_}, options, out_);
  EXPECT_EQ(result.fitted_steps, 160);
  const TraceReader made(out_);
  EXPECT_EQ(made.num_steps(), 70);
  EXPECT_EQ(made.header().first_position, 3999);
  EXPECT_EQ(made.header().recorded_layers, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(made.header().num_kv_heads, 7);
  EXPECT_EQ(made.header().num_q_heads, 21);
  EXPECT_EQ(made.header().synthetic, "synthetic, label");
  // A whole ranking of all pages, whose masses sum to 1 but for their quantisation.
  LayerColumns columns;
  made.read_layer(0, 4, columns);
  for (const int head : {0, 6}) {
    const HeadRanking ranking = columns.at(60, head);
    EXPECT_EQ(ranking.pages.size(), static_cast<std::size_t>((3999 + 60) / 16 + 1));
    EXPECT_NEAR(std::accumulate(ranking.mass.begin(), ranking.mass.end(), 0.0), 1.0, 0.05);
  }
  EXPECT_NE(columns.at(0, 0).pages[0] + columns.at(9, 0).pages[3] * 1000 + columns.at(33, 0).pages[5] * 1000000,
            columns.at(0, 2).pages[0] + columns.at(9, 2).pages[3] * 1000 + columns.at(33, 2).pages[5] * 1000000)
      << "heads that share a model must not repeat each other";
}

TEST_F(Synthesis, IsDeterministicBySeedWhateverTheThreads) {
  SynthesisOptions options{.steps = 64, .seed = 7, .threads = 1};
  synthesize({&reader_}, options, out_);
  options.threads = 3;
  synthesize({&reader_}, options, again_);
  EXPECT_EQ(bytes_of(out_), bytes_of(again_));
  options.seed = 8;
  synthesize({&reader_}, options, again_);
  EXPECT_NE(bytes_of(out_), bytes_of(again_));
}

TEST_F(Synthesis, RefusesWhatItCannotBuildOn) {
  EXPECT_THROW(synthesize({}, {}, out_), InputError);
  EXPECT_THROW(synthesize({&reader_}, {.context = 100}, out_), InputError);
  EXPECT_THROW(synthesize({&reader_}, {.num_layers = -1}, out_), InputError);
  EXPECT_THROW(synthesize({&reader_}, {.num_kv_heads = 5000}, out_), InputError);
  EXPECT_THROW(synthesize({&reader_}, {.steps = -1}, out_), InputError);
  EXPECT_THROW(synthesize({&reader_}, {.fit_first = 130}, out_), InputError);  // 30 steps left, 48 needed
  TraceHeader listed = header_;
  listed.top_m = 20;
  const TemporaryTrace cut(listed, drifting_steps(listed, 80, 0.3));
  const TraceReader best_only(cut.file());
  EXPECT_THROW(synthesize({&best_only}, {}, out_), InputError);
  TraceHeader other = synthetic_header(1000, 80);
  other.page_size = 8;
  const TemporaryTrace smaller(other, drifting_steps(other, 80, 0.3));
  const TraceReader smaller_pages(smaller.file());
  EXPECT_THROW(synthesize({&reader_, &smaller_pages}, {}, out_), InputError);
  SynthesisOptions labelled;
  labelled.label = "synthetic, once";
  synthesize({&reader_}, labelled, out_);
  const TraceReader synthetic(out_);
  EXPECT_THROW(synthesize({&synthetic}, {}, again_), InputError);  // a copy of a copy
  EXPECT_FALSE(std::filesystem::exists(again_));
}

TEST_F(Synthesis, HeldOutTestComparesWithTheUnseenHalfAndCleansUp) {
  const HeldOutTest test = held_out_test(reader_, {}, out_);
  EXPECT_FALSE(std::filesystem::exists(out_));
  EXPECT_EQ(test.fitted_steps, 80);
  EXPECT_EQ(test.unseen_steps, 80);
  EXPECT_EQ(test.rows.size(), 14U);
  for (const HeldOutRow& row : test.rows) {
    EXPECT_GT(row.recorded, 0) << row.statistic;
    EXPECT_LT(row.gap(), 0.5) << row.statistic;
  }
}

TEST(HeldOutLabel, SaysWhatWasFound) {
  EXPECT_EQ(held_out_label({}), "synthetic, not tested against recorded steps");
  HeldOutTest good{.file = "x/a.rtrace", .fitted_steps = 1, .unseen_steps = 1, .rows = {{"overlap, lag 1", 0.8, 0.79}}};
  HeldOutTest bad{.file = "b.rtrace", .fitted_steps = 1, .unseen_steps = 1, .rows = {{"overlap, lag 1", 0.8, 0.9}}};
  EXPECT_EQ(held_out_label({good}), "synthetic, within 5 % of the unseen half of a.rtrace");
  EXPECT_EQ(held_out_label({good, bad}),
            "synthetic, not within 5 % of the unseen half of b.rtrace (worst gap 12.5 %: overlap, lag 1)");
  EXPECT_DOUBLE_EQ(good.worst_gap(), 1 - 0.79 / 0.8);
}

}  // namespace
}  // namespace retrosim
