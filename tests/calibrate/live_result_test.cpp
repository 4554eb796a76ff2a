#include "calibrate/live/live_result.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "calibrate/live/unseen_count.h"
#include "model/error.h"

namespace retrosim {
namespace {

LiveResult some_result() {
  LiveResult result;
  result.config.id = "grid.kv-1";
  result.config.group = "grid.kv";
  result.config.window = 2;
  result.config.kv_dtype = DType::fp8_e4m3;
  result.config.selection = LiveSelection::drift;
  result.gpu = "NVIDIA H100 80GB HBM3";
  result.sm_count = 132;
  result.first_context = 1000;
  result.step_us = {10.5, 11, 12};
  result.without_products_us = {5};
  result.ops = {{.name = "attention", .launches = 3, .latency_us = 2.5}};
  result.layers = {
      {.pages_loaded = 4, .tokens_loaded = 60, .unseen_visits = 1, .unseen_union = 1, .recalled_pages = 2}};
  result.unseen_by_step = {3, 4, 5};
  result.overlap = 0.75;
  return result;
}

TEST(LiveResult, LinesOfEarlierKernelsHadAMergeOfTheirOwn) {
  std::string line = to_json_line(some_result());
  EXPECT_TRUE(parse_live_result(line, "test").config.merges_in_attention);
  const std::string field = R"(,"merges_in_attention":true)";
  line.erase(line.find(field), field.size());
  EXPECT_FALSE(parse_live_result(line, "test").config.merges_in_attention);
}

TEST(LiveResult, SurvivesItsLine) {
  const LiveResult result = some_result();
  const LiveResult back = parse_live_result(to_json_line(result), "test");
  EXPECT_EQ(to_json_line(back), to_json_line(result));
  EXPECT_EQ(back.layers, result.layers);
  EXPECT_EQ(back.mean_context(), 1001);
}

TEST(LiveResult, RefusesWhatIsNotOne) {
  EXPECT_THROW(parse_live_result("{}", "test"), InputError);
  EXPECT_THROW(parse_live_result("not JSON", "test"), InputError);
  std::string line = to_json_line(some_result());
  line.replace(line.find("10.5"), 4, "-1.0");
  EXPECT_THROW(parse_live_result(line, "test"), InputError);
}

TEST(LiveResult, ALineThatWasCutOffIsLeftOut) {
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "live_result_test.jsonl";
  const std::string line = to_json_line(some_result());
  std::ofstream(file) << line << '\n' << line.substr(0, line.size() / 2);
  EXPECT_EQ(read_live_results(file).size(), 1U);
  std::filesystem::remove(file);
}

TEST(MedianOf, MiddleOrMeanOfTheMiddleTwo) {
  EXPECT_EQ(median_of({}), 0);
  EXPECT_EQ(median_of({3, 1, 2}), 2);
  EXPECT_EQ(median_of({4, 1, 2, 3}), 2.5);
}

TEST(CountDemand, CountsByTheRuleOfTheMethod) {
  // One sequence of 10 tokens (t = 9), pages of 4, window 3, one KV head that selects pages 0, 1 and 2. Page 0 was last
  // loaded at step 8 = t - 1: seen by both older queries. Page 1 at step 7: query t - 1 = 8 has not seen it (7 < 8),
  // query t - 2 = 7 has (7 < 7 is false). Page 2 (positions 8, 9) never: unseen by query 8, but it begins after
  // query 7.
  std::int64_t kept = 0;
  const std::vector<std::int32_t> last{8, 7, -1};
  const LayerDemand demand = count_demand({{{0, 1, 2}}}, 10, 4, 3, last, 3, kept);
  EXPECT_EQ(demand, (LayerDemand{.pages_loaded = 3, .tokens_loaded = 10, .unseen_visits = 2, .unseen_union = 2}));
  EXPECT_EQ(kept, 1);
}

}  // namespace
}  // namespace retrosim
