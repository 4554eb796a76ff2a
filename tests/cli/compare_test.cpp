#include <gmock/gmock.h>

#include "tests/cli/program.h"

namespace retrosim::test {
namespace {

using nlohmann::json;

constexpr const char* kBase = "compare --llm llama-3.1-8b --gpu h100-sxm --steps 2 ";

TEST(Compare, HasOnePointPerCombination) {
  const Outcome outcome = run(
      std::string(kBase) + "--policies full,streaming,quest --windows 1,2 --contexts 8192,16384 --batches 1,64 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json document = outcome.json();
  EXPECT_EQ(document.at("schema"), "retrosim.compare/1");
  EXPECT_EQ(document.at("points").size(), 3U * 2 * 2 * 2);
  for (const json& point : document.at("points")) {
    EXPECT_TRUE(point.at("refused").is_null());
    EXPECT_GT(point.at("step").at("latency_us_mean").get<double>(), 0);
    const bool pure_cost = point.at("window") == 2 && point.at("policy") != "quest";
    EXPECT_EQ(point.at("window_is_pure_cost").get<bool>(), pure_cost);
  }
}

TEST(Compare, SaysWhatDoesNotFitAndWhatIsNotDefined) {
  const Outcome outcome =
      run(std::string(kBase) + "--policies full,magicpig --windows 1,2 --contexts 131072 --batches 64 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const json& point : outcome.json().at("points")) {
    if (point.at("policy") == "full") {
      EXPECT_FALSE(point.at("fits").get<bool>());  // 64 x 131,072 tokens x 131,072 bytes
    } else if (point.at("window") == 2) {
      EXPECT_THAT(point.at("refused").get<std::string>(), testing::HasSubstr("importance-weighted"));
    }
  }
}

TEST(Compare, AllReducesAndExpertTrafficGrowWithTheWindow) {
  const Outcome outcome =
      run("compare --llm qwen3-30b-a3b --gpu h100-sxm --steps 2 --policies quest --windows 1,4 --contexts 16384 "
          "--tensor-parallel-sizes 2 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json points = outcome.json().at("points");
  ASSERT_EQ(points.size(), 2U);
  EXPECT_GT(points[1].at("interconnect_bytes").get<double>(), points[0].at("interconnect_bytes").get<double>());
  EXPECT_GT(points[1].at("step").at("weight_read_bytes").get<double>(),
            points[0].at("step").at("weight_read_bytes").get<double>());
}

TEST(Compare, RefusesUnknownPolicies) {
  const Outcome outcome = run(std::string(kBase) + "--policies quest,nonsense");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, testing::HasSubstr("nonsense"));
}

}  // namespace
}  // namespace retrosim::test
