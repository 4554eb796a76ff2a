// Page demand of a target from a trace: exact where the shapes agree, mapped by the stated rules where they do not.
#include "traces/demand.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "model/error.h"
#include "tests/traces/synthetic_trace.h"
#include "traces/replay.h"

namespace retrosim {
namespace {

using ::testing::HasSubstr;

// 100 steps at contexts 1001..1100 of a model with 4 layers (recorded: all) and 2 KV heads, in several drifts.
class DemandTest : public testing::Test {
 protected:
  static TraceHeader header() {
    TraceHeader header = synthetic_header(1000, 100);
    header.recorded_layers = {0, 1, 2, 3};
    return header;
  }

  std::string trace(double drift) {
    const auto found = files_.find(drift);
    if (found != files_.end()) return found->second;
    const std::string file =
        (std::filesystem::path(testing::TempDir()) /
         ("retrosim_demand_" + std::to_string(::getpid()) + "_" + std::to_string(drift) + ".rtrace"));
    TraceWriter writer(file, header(), {.steps_per_chunk = 16});
    SyntheticRankings rankings(header(), drift, 5);
    for (int i = 0; i < 100; ++i) writer.add_step(rankings.next().record());
    writer.close();
    return files_[drift] = file;
  }

  void TearDown() override {
    for (const auto& [drift, file] : files_) std::filesystem::remove(file);
  }

  static DecodeConfig same_shape(std::int64_t context, int window, double budget = 0.15) {
    DecodeConfig config;
    config.llm.name = "synthetic";
    config.llm.num_layers = 4;
    config.llm.num_q_heads = 6;
    config.llm.num_kv_heads = 2;
    config.llm.head_dim = 64;
    config.llm.hidden_size = 384;
    config.llm.intermediate_size = 1024;
    config.llm.vocab_size = 1000;
    config.llm.max_position = 131072;
    config.llm.layer_is_moe.assign(4, 0);
    config.llm.layer_sliding_window.assign(4, 0);
    config.policy = make_policy("quest", {.budget = budget});
    config.window = window;
    config.context = context;
    return config;
  }

  // Another shape: 10 layers, 5 KV heads, pages of 32 tokens, 32k of context.
  static DecodeConfig other_shape(int window, std::int64_t batch = 1) {
    DecodeConfig config = same_shape(32768, window);
    config.llm.num_layers = 10;
    config.llm.num_kv_heads = 5;
    config.llm.num_q_heads = 10;
    config.llm.layer_is_moe.assign(10, 0);
    config.llm.layer_sliding_window.assign(10, 0);
    config.page_size = 32;
    config.batch = batch;
    return config;
  }

  std::map<double, std::string> files_;
};

TEST_F(DemandTest, IsTheReplayItselfWhereNothingIsMapped) {
  const DecodeConfig config = same_shape(1031, 4);
  const TraceDemand demand = demand_from_trace(trace(0.3), config, 20);
  EXPECT_TRUE(demand.mapping.exact);
  EXPECT_FALSE(demand.truncated);
  ASSERT_EQ(demand.steps.size(), 20U);

  // The same from the rankings themselves: replay from context 1028 (warm-up of 3), compare from 1031.
  SyntheticRankings rankings(header(), 0.3, 5);
  std::vector<HeadReplay> replays(8, HeadReplay(*config.policy, 16, 4, false));
  for (int i = 0; i < 50; ++i) {
    const SyntheticStep recorded = rankings.next();
    for (int layer = 0; layer < 4; ++layer) {
      LayerDemand expected;
      for (int head = 0; head < 2; ++head) {
        const auto at = static_cast<std::size_t>(2 * layer + head);
        const HeadStep& step = replays[at].advance(
            {recorded.position, recorded.num_pages, recorded.pages[at], recorded.mass[at], recorded.rest[at]});
        expected.pages_loaded += step.pages_loaded;
        expected.tokens_loaded += step.tokens_loaded;
        expected.unseen_visits += step.unseen[1] + step.unseen[2] + step.unseen[3];
        expected.unseen_union += step.unseen[1];
      }
      if (i < 30 || layer < 2) continue;
      const StepDemand& step = demand.steps[static_cast<std::size_t>(i - 30)];
      EXPECT_EQ(step.context, recorded.position + 1);
      EXPECT_EQ(step.layers[static_cast<std::size_t>(layer)], expected) << "step " << i << " layer " << layer;
    }
  }
}

TEST_F(DemandTest, MapsOntoAnotherShapeAtTheSameRelativeBudget) {
  const DecodeConfig config = other_shape(4);
  const TraceDemand demand = demand_from_trace(trace(0.3), config, 40);
  EXPECT_FALSE(demand.mapping.exact);
  EXPECT_THAT(demand.mapping.heads, HasSubstr("mod 2"));
  EXPECT_THAT(demand.mapping.context, HasSubstr("32768"));
  EXPECT_THAT(demand.mapping.page_size, HasSubstr("32"));
  // 1024 pages, k = ceil(0.15 * 1024) = 154, 5 heads: 770 pages; 32768 = 1024 * 32, so every page is full.
  double visits = 0;
  for (const StepDemand& step : demand.steps) {
    EXPECT_EQ(step.context, 32768);
    for (std::size_t layer = 2; layer < 10; ++layer) {
      const LayerDemand& counts = step.layers[layer];
      EXPECT_EQ(counts.pages_loaded, 770);
      EXPECT_EQ(counts.tokens_loaded, 770 * 32);
      EXPECT_GE(counts.unseen_visits, counts.unseen_union);
      EXPECT_LE(counts.unseen_visits, 3 * counts.unseen_union);
      EXPECT_LE(counts.unseen_union, counts.pages_loaded);
      visits += static_cast<double>(counts.unseen_visits);
    }
  }
  // Depths of the target's 8 sparse layers, (i + 0.5) / 8, lie nearest to those of recorded layers 2 and 3, 0.25 and
  // 0.75: four layers each; heads 0 1 0 1 0. The last 40 steps are the nearest contexts; warm-up then begins with the
  // chunk that holds step 57, at step 48: steps 51 to 90 are used.
  SyntheticRankings rankings(header(), 0.3, 5);
  std::vector<HeadReplay> replays(8, HeadReplay(*config.policy, 16, 4, false));
  double expected = 0;
  for (int i = 0; i < 100; ++i) {
    const SyntheticStep recorded = rankings.next();
    for (std::size_t at = 4; at < 8; ++at) {
      const HeadStep& step = replays[at].advance(
          {recorded.position, recorded.num_pages, recorded.pages[at], recorded.mass[at], recorded.rest[at]});
      if (i < 51 || i > 90) continue;
      const auto unseen = static_cast<double>(step.unseen[1] + step.unseen[2] + step.unseen[3]);
      expected += 4 * (at % 2 == 0 ? 3 : 2) * 154 * unseen / static_cast<double>(step.pages_loaded);
    }
  }
  EXPECT_NEAR(visits, expected, 8 * 0.5 + 1e-6);  // each layer's total is off by at most a half
}

TEST_F(DemandTest, WindowOneAndFullBudgetLeaveNothingUnseen) {
  for (const DecodeConfig& config : {other_shape(1), same_shape(1040, 1), same_shape(1040, 8, 1.0)}) {
    for (const StepDemand& step : demand_from_trace(trace(0.3), config, 10).steps) {
      for (const LayerDemand& layer : step.layers) {
        EXPECT_EQ(layer.unseen_visits, 0);
        EXPECT_EQ(layer.unseen_union, 0);
      }
    }
  }
  const TraceDemand full = demand_from_trace(trace(0.3), same_shape(1040, 8, 1.0), 10);
  EXPECT_NEAR(full.mass_recall_mean, 1.0, 1e-6);
  EXPECT_EQ(demand_from_trace(trace(0.3), other_shape(1), 1).steps[0].layers[5],
            demand_without_unseen(other_shape(1)).layers[5]);
}

TEST_F(DemandTest, LoadsDoNotDependOnTheWindowAndRecallGrowsWithIt) {
  double recall = 0;
  for (const int window : {1, 2, 4, 8, 16}) {
    const TraceDemand demand = demand_from_trace(trace(0.3), other_shape(window), 16);
    for (const StepDemand& step : demand.steps) {
      EXPECT_EQ(step.layers[9].pages_loaded, 770);
      EXPECT_EQ(step.layers[9].tokens_loaded, 770 * 32);
    }
    EXPECT_GE(demand.mass_recall_retro_mean, demand.mass_recall_mean);
    EXPECT_GT(demand.mass_recall_retro_mean, recall);
    recall = demand.mass_recall_retro_mean;
  }
}

TEST_F(DemandTest, LessOverlapMeansMoreUnseen) {
  std::int64_t before = -1;
  for (const double drift : {0.05, 0.3, 1.0}) {
    std::int64_t visits = 0;
    for (const StepDemand& step : demand_from_trace(trace(drift), other_shape(2), 32).steps) {
      for (std::size_t layer = 2; layer < 10; ++layer) visits += step.layers[layer].unseen_visits;
    }
    EXPECT_GT(visits, before);
    before = visits;
  }
}

TEST_F(DemandTest, SequencesOfABatchStartApart) {
  const TraceDemand one = demand_from_trace(trace(0.3), other_shape(2, 1), 8);
  const TraceDemand four = demand_from_trace(trace(0.3), other_shape(2, 4), 8);
  bool differs = false;
  for (std::size_t step = 0; step < 8; ++step) {
    EXPECT_EQ(four.steps[step].layers[5].pages_loaded, 4 * one.steps[step].layers[5].pages_loaded);
    differs = differs || four.steps[step].layers[5].unseen_visits != 4 * one.steps[step].layers[5].unseen_visits;
  }
  EXPECT_TRUE(differs);
  EXPECT_THAT(four.mapping.batch, HasSubstr("sequence i starts"));
  // The same question twice has the same answer.
  const TraceDemand again = demand_from_trace(trace(0.3), other_shape(2, 4), 8);
  for (std::size_t step = 0; step < 8; ++step) EXPECT_EQ(again.steps[step].layers, four.steps[step].layers);
}

TEST_F(DemandTest, RepeatsAShortTraceOnlyAndSaysSo) {
  const TraceDemand demand = demand_from_trace(trace(0.3), other_shape(8), 200);
  EXPECT_EQ(demand.steps.size(), 200U);
  EXPECT_THAT(demand.mapping.batch, HasSubstr("93 recorded steps"));  // 100 - 7 of warm-up
  EXPECT_THAT(demand.mapping.batch, HasSubstr("cyclically"));
  EXPECT_THAT(demand_from_trace(trace(0.3), other_shape(8), 93).mapping.batch, testing::Not(HasSubstr("cyclically")));
}

TEST_F(DemandTest, TokenBudgetsBecomeRelativeOnes) {
  DecodeConfig config = other_shape(4);
  const TraceDemand fraction = demand_from_trace(trace(0.3), config, 10);
  config.policy = make_policy("quest", {.budget_tokens = 154 * 32});  // k = 154 of 1024 pages again
  const TraceDemand tokens = demand_from_trace(trace(0.3), config, 10);
  for (std::size_t step = 0; step < 10; ++step) {
    for (std::size_t layer = 2; layer < 10; ++layer) {
      EXPECT_EQ(tokens.steps[step].layers[layer].pages_loaded, fraction.steps[step].layers[layer].pages_loaded);
      // ceil(154/1024 * 69 pages) = ceil(0.15 * 69) = 11 on both.
      EXPECT_EQ(tokens.steps[step].layers[layer].unseen_visits, fraction.steps[step].layers[layer].unseen_visits);
    }
  }
}

TEST_F(DemandTest, PoliciesThatNeverReturnFindNothingUnseen) {
  DecodeConfig config = other_shape(4);
  config.policy = make_policy("streaming", {.budget = 0.15});
  for (const StepDemand& step : demand_from_trace(trace(0.3), config, 10).steps) {
    for (const LayerDemand& layer : step.layers) EXPECT_EQ(layer.unseen_visits, 0);
  }
}

TEST_F(DemandTest, CutOffTracesAreUsedAndShortOnesRefused) {
  const std::string file = trace(0.3);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 30);
  const TraceDemand demand = demand_from_trace(file, other_shape(4), 20);
  EXPECT_TRUE(demand.truncated);
  const TraceReader reader(file);
  EXPECT_EQ(reader.num_steps(), 96);
  const std::uint64_t second = reader.chunk(1).offset;
  std::filesystem::resize_file(file, second);  // 16 steps
  EXPECT_NO_THROW(demand_from_trace(file, other_shape(16), 4));
  EXPECT_THROW(demand_from_trace(file, other_shape(17), 4), InputError);
  EXPECT_THROW(demand_from_trace(file, other_shape(2), 0), InputError);
  EXPECT_THROW(demand_from_trace(file + ".missing", other_shape(2), 4), InputError);
}

}  // namespace
}  // namespace retrosim
