// Every policy by its name on the command line.
#include <gtest/gtest.h>

#include "tests/cli/program.h"
#include "tests/cli/synthetic_trace.h"

namespace retrosim::test {
namespace {

class Policies : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { write_trace(folder_ / "t.rtrace", {.turn_pages = 3}); }
  Outcome simulate(const std::string& flags) {
    const std::string policy = GetParam();
    const bool positions_alone = policy == "full" || policy == "streaming";
    const std::string trace = positions_alone ? "" : " --trace " + (folder_ / "t.rtrace").string();
    return run("simulate --llm smollm2-135m --gpu h100-sxm --context 2048 --steps 4 --json --policy " + policy + trace +
               flags);
  }
  TemporaryFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(Names, Policies,
                         ::testing::Values("full", "streaming", "tova", "h2o", "snapkv", "quest", "reuse", "arkvale",
                                           "pqcache", "magicpig", "icecache", "lserve", "keyformer", "morphkv"),
                         [](const auto& param_info) { return std::string(param_info.param); });

TEST_P(Policies, AnswersAloneAndUnderAWindow) {
  const std::string policy = GetParam();
  const Outcome alone = simulate("");
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  const auto answer = alone.json();
  EXPECT_GT(answer.at("step").at("latency_us_mean"), 0);
  EXPECT_EQ(answer.at("selection").at("window"), "none");
  EXPECT_FALSE(answer.at("selection").at("note").get<std::string>().empty());
  const bool on_host = policy == "arkvale" || policy == "pqcache" || policy == "magicpig" || policy == "icecache";
  EXPECT_EQ(answer.at("gpu_memory").at("host_kv_bytes") > 0, on_host);
  EXPECT_EQ(answer.at("step").at("device_to_host_bytes") > 0, on_host);

  const Outcome windowed = simulate(" --window 4");
  if (policy == "magicpig") {
    EXPECT_EQ(windowed.exit_code, 2);
    EXPECT_NE(windowed.err.find("importance-weighted"), std::string::npos) << windowed.err;
    return;
  }
  ASSERT_EQ(windowed.exit_code, 0) << windowed.err;
  const auto with = windowed.json();
  const bool returns = on_host || policy == "quest" || policy == "reuse" || policy == "lserve";
  EXPECT_EQ(with.at("selection").at("window").get<std::string>().starts_with("pure cost"), !returns);
  EXPECT_EQ(windowed.err.find("pure cost") != std::string::npos, !returns) << windowed.err;
  if (!returns) {
    EXPECT_EQ(with.at("step").at("unseen_pages_mean"), 0);
  }
  EXPECT_EQ(with.at("step").at("kv_read_bytes"), with.at("versus").at("without_retro").at("kv_read_bytes"));
  EXPECT_GT(with.at("step").at("flops"), with.at("versus").at("without_retro").at("flops"));
}

}  // namespace
}  // namespace retrosim::test
