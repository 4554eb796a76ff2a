// Recorded selections in another model's shape and a longer context, against lists made by hand.
#include "traces/recorded_selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "model/error.h"
#include "tests/traces/synthetic_trace.h"

namespace retrosim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kSteps = 9;

// Positions 40..48 of one layer with one KV head: two pages are full when the recording starts, page 2 is being filled,
// and page 3 begins at position 48. Its ranking is 1, 0, 2 at every step but the last.
class RecordedSelectionTest : public testing::Test {
 protected:
  RecordedSelectionTest()
      : file_(std::filesystem::path(testing::TempDir()) /
              ("retrosim_recorded_selection_" + std::to_string(::getpid()) + ".rtrace")) {
    TraceHeader header = synthetic_header(40, kSteps);
    header.recorded_layers = {2};
    header.num_q_heads = header.num_kv_heads = 1;
    TraceWriter writer(file_, header, {.steps_per_chunk = 4});
    for (int step = 0; step < kSteps; ++step) {
      const std::vector<PageId> pages = step == 8 ? std::vector<PageId>{0, 3, 2, 1} : std::vector<PageId>{1, 0, 2};
      const std::vector<float> mass(pages.size(), 0.25F);
      writer.add_step({40 + step, header.num_pages(40 + step), {{pages, mass, 0.0F}}});
    }
    writer.close();
  }
  ~RecordedSelectionTest() override { std::filesystem::remove(file_); }

  static DecodeConfig decode(std::int64_t context, double budget) {
    DecodeConfig config;
    config.llm.num_layers = 4;
    config.llm.num_q_heads = 6;
    config.llm.num_kv_heads = 2;
    config.llm.head_dim = 64;
    config.llm.max_position = 131072;
    config.llm.layer_is_moe.assign(4, 0);
    config.llm.layer_sliding_window.assign(4, 0);
    config.policy = make_policy("quest", {.budget = budget});
    config.context = context;
    config.batch = 3;
    return config;
  }

  static std::vector<std::int32_t> list(const SelectionSchedule& schedule, int layer, std::int64_t row) {
    const auto& of_layer = schedule.layers.at(static_cast<std::size_t>(layer));
    const auto first = of_layer.pages.begin() + row * schedule.k_max;
    return {first, first + of_layer.counts.at(static_cast<std::size_t>(row))};
  }

  std::filesystem::path file_;
};

TEST_F(RecordedSelectionTest, FullPagesAreLaidEndToEndAndLaterOnesFollowOnce) {
  const TraceReader trace(file_);
  // 130 tokens hold the recorded 41 three times: page 0 becomes 0, 2, 4, page 1 becomes 1, 3, 5, page 2 page 6, page 3
  // page 7.
  // That is 7 pages at first, filled as the recorded ones are: 6 full ones and 41 - 32 = 9 tokens, 105 in all.
  const TraceReader* traces[] = {&trace};
  const SelectionSchedule schedule = recorded_selection(traces, decode(130, 0.5), kSteps);
  EXPECT_EQ(schedule.first_context, 105);
  EXPECT_EQ(schedule.num_steps, kSteps);
  EXPECT_EQ(schedule.k_max, 4);  // half of 7 pages, and half of 8, rounded up
  EXPECT_TRUE(schedule.layers[0].pages.empty());
  EXPECT_TRUE(schedule.layers[1].pages.empty());
  for (const int layer : {2, 3}) {
    for (std::int64_t row = 0; row < 3 * 2; ++row) {
      // Ranked 1 3 5 0 2 4 6: the page being filled and the best three.
      EXPECT_THAT(list(schedule, layer, row), ElementsAre(1, 3, 5, 6));
      // Eight pages, ranked 0 2 4 7 6 1 3 5.
      EXPECT_THAT(list(schedule, layer, 8 * 6 + row), ElementsAre(0, 2, 4, 7));
    }
  }
}

TEST_F(RecordedSelectionTest, TheSameContextIsTheRecordingItself) {
  const TraceReader trace(file_);
  const TraceReader* traces[] = {&trace};
  const SelectionSchedule schedule = recorded_selection(traces, decode(41, 0.5), kSteps);
  EXPECT_EQ(schedule.first_context, 41);
  EXPECT_THAT(list(schedule, 2, 0), ElementsAre(1, 2));      // half of 3 pages, rounded up: the best and the last
  EXPECT_THAT(list(schedule, 2, 8 * 6), ElementsAre(0, 3));  // half of 4
}

TEST_F(RecordedSelectionTest, WhatDoesNotFitIsRefused) {
  const TraceReader trace(file_);
  const TraceReader* traces[] = {&trace};
  const auto message = [&](const DecodeConfig& config, std::int64_t steps) {
    try {
      recorded_selection(traces, config, steps);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(message(decode(130, 0.5), kSteps + 1), HasSubstr("steps"));
  EXPECT_THAT(message(decode(40, 0.5), kSteps), HasSubstr("first_position"));
  DecodeConfig config = decode(130, 0.5);
  config.dense_layers = 3;
  EXPECT_THAT(message(config, kSteps), HasSubstr("recorded_layers"));
  config = decode(130, 0.5);
  config.page_size = 8;
  EXPECT_THAT(message(config, kSteps), HasSubstr("page_size"));
  EXPECT_THROW(recorded_selection({}, decode(130, 0.5), kSteps), InputError);
}

}  // namespace
}  // namespace retrosim
