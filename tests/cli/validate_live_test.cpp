// `retrosim validate` over live results measured before, and what needs a GPU without one.
#include <gmock/gmock.h>

#include "tests/cli/program.h"

namespace retrosim::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

json live_line(int window, double step_us) {
  json layers = json::array();
  for (int i = 0; i < 2; ++i) {
    // 8 KV heads, 10 of 64 pages each.
    layers.push_back({{"pages_loaded", 80},
                      {"tokens_loaded", 1280},
                      {"unseen_visits", window > 1 ? 16 : 0},
                      {"unseen_union", window > 1 ? 16 : 0},
                      {"recalled_pages", 0}});
  }
  return {{"schema", "retrosim.live/1"},
          {"config",
           {{"id", "grid.kv-" + std::to_string(window)},
            {"group", "grid.kv"},
            {"llm", "llama-3.1-8b"},
            {"layers", 2},
            {"policy", "quest"},
            {"window", window},
            {"budget", 0.15},
            {"batch", 1},
            {"context", 1024},
            {"page_size", 16},
            {"dense_layers", 0},
            {"kv_cache_dtype", "bfloat16"},
            {"selection", "drift"},
            {"correlation", 0.95},
            {"prefetch_bytes", 0},
            {"seed", 1}}},
          {"gpu", "GPU <of a test>"},
          {"sm_count", 132},
          {"first_context", 1023},
          {"step_us", {step_us, step_us, step_us}},
          {"without_products_us", {50.0}},
          {"ops", {{{"name", "attention"}, {"launches", 2}, {"latency_us", 4.0}}}},
          {"layers", layers},
          {"unseen_by_step", json::array()},
          {"overlap", -1},
          {"trace", ""},
          {"error", ""}};
}

TEST(ValidateLive, HoldsAProfileAgainstResultsMeasuredBefore) {
  const TemporaryFolder folder;
  const std::string measured = (folder / "live.jsonl").string();
  std::ofstream(measured) << live_line(1, 700).dump() << '\n' << live_line(2, 730).dump() << '\n';
  const std::string out = (folder / "out").string();
  for (const char* verb : {"validate", "validate live"}) {
    const Outcome outcome =
        run(std::string(verb) + " --profile h100-sxm --measured " + measured + " --out " + out + " --json");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const json answer = outcome.json();
    EXPECT_EQ(answer.at("schema"), "retrosim.validate_live/1");
    EXPECT_EQ(answer.at("steps").at("rows"), 2);
    ASSERT_EQ(answer.at("overhead").size(), 1U);
    EXPECT_DOUBLE_EQ(answer.at("overhead")[0].at("measured_over_us"), 30);
    const double predicted = answer.at("rows")[0].at("predicted_us");
    const double live = answer.at("rows")[0].at("measured_us");
    EXPECT_DOUBLE_EQ(answer.at("rows")[0].at("error"), predicted / live - 1);
  }
  const std::string page = read_file(folder / "out/validation.html");
  EXPECT_THAT(page, Not(HasSubstr("{{")));
  EXPECT_THAT(page, HasSubstr("GPU &lt;of a test&gt;"));
  EXPECT_THAT(read_file(folder / "out/validation.md"), HasSubstr("| step | 2 |"));
}

TEST(ValidateLive, RefusesWhatItCannotRead) {
  const TemporaryFolder folder;
  const std::string measured = (folder / "live.jsonl").string();
  json line = live_line(1, 700);
  line["config"]["window"] = 0;
  std::ofstream(measured) << line.dump() << '\n';
  const std::string out = (folder / "out").string();
  expect_refused("validate --profile h100-sxm --measured " + measured + " --out " + out, "config.window");
  expect_refused("validate --profile h100-sxm --measured " + (folder / "none").string() + " --out " + out, "none");
  expect_refused("validate --profile h100-sxm", "--out");
}

TEST(Live, SaysWhatItNeeds) {
  const TemporaryFolder folder;
  if (std::system("nvidia-smi >/dev/null 2>&1") == 0) GTEST_SKIP() << "there is a GPU";
  expect_refused("live --llm llama-3.1-8b --layers 2", "GPU");
  expect_refused("trace record --gpu --checkpoint x --tokens y --out " + (folder / "z").string(), "GPU");
}

}  // namespace
}  // namespace retrosim::test
