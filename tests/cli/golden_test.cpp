// One small question whose whole answer is kept in tests/golden/. Latencies depend on the bundled profile, which a new
// calibration may change; bytes, FLOPs and the graph do not.
#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "tests/cli/program.h"
#include "tests/cli/synthetic_trace.h"

namespace retrosim::test {
namespace {

using nlohmann::json;

const std::filesystem::path kGolden = std::filesystem::path(RETROSIM_SOURCE_DIR) / "tests" / "golden";

/// The kept text; with RETROSIM_UPDATE_GOLDEN set, `text` is kept first.
std::string golden(const char* name, const std::string& text) {
  if (std::getenv("RETROSIM_UPDATE_GOLDEN") != nullptr) std::ofstream(kGolden / name) << text;
  return read_file(kGolden / name);
}

/// What counts in an answer and does not depend on a calibration: traffic, FLOPs and demand of the three variants, and
/// per operation of the first two layers and the last.
json without_latencies(const json& answer) {
  json kept{{"schema", answer.at("schema")}};
  const auto counted = [](json step) {
    for (const char* key : {"latency_us_mean", "latency_us_p50", "latency_us_p99"}) step.erase(key);
    return step;
  };
  kept["step"] = counted(answer.at("step"));
  kept["versus"]["full"] = counted(answer.at("versus").at("full"));
  kept["versus"]["without_retro"] = counted(answer.at("versus").at("without_retro"));
  kept["ops"] = json::array();
  for (const json& op : answer.at("ops")) {
    const int layer = op.at("layer");
    if (layer > 2) continue;
    kept["ops"].push_back(
        {{"name", op.at("name")}, {"layer", layer}, {"hbm_bytes", op.at("hbm_bytes")}, {"flops", op.at("flops")}});
  }
  return kept;
}

class Golden : public ::testing::Test {
 protected:
  void SetUp() override {
    write_trace(folder_ / "t.rtrace", {.turn_pages = 3});
    const Outcome outcome = run("simulate --llm smollm2-135m --gpu h100-sxm --policy retro --context 2048 --steps 4 " +
                                std::string("--json --trace ") + (folder_ / "t.rtrace").string() + " --graph " +
                                (folder_ / "g.dot").string());
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    answer_ = outcome.json();
    graph_ = read_file(folder_ / "g.dot");
  }

  TemporaryFolder folder_;
  json answer_;
  std::string graph_;
};

TEST_F(Golden, SimulatesTheSame) {
  const std::string text = without_latencies(answer_).dump(1) + "\n";
  EXPECT_EQ(text, golden("simulate_smollm2.json", text));
}

TEST_F(Golden, DrawsTheSame) { EXPECT_EQ(graph_, golden("step_smollm2_quest.dot", graph_)); }

// The invariant beside them: the operations of one step add up to the step's own sums.
TEST_F(Golden, OperationsAddUpToTheStep) {
  double hbm_bytes = 0;
  double flops = 0;
  for (const json& op : answer_.at("ops")) {
    hbm_bytes += op.at("hbm_bytes").get<double>();
    flops += op.at("flops").get<double>();
    EXPECT_GT(op.at("latency_us").get<double>(), 0);
  }
  const json& step = answer_.at("step");
  // The first step and the mean over four differ by the unseen pages alone: FLOPs and page-table entries.
  EXPECT_NEAR(hbm_bytes, step.at("hbm_read_bytes").get<double>() + step.at("hbm_write_bytes").get<double>(),
              1e-3 * hbm_bytes);
  EXPECT_NEAR(flops, step.at("flops").get<double>(), 1e-2 * flops);
  std::map<std::string, int> launches;
  for (const json& op : answer_.at("ops")) ++launches[op.at("name")];
  EXPECT_EQ(launches.at("attention"), 30);
  EXPECT_EQ(launches.at("page_score"), 28);  // all but the first two layers
}

}  // namespace
}  // namespace retrosim::test
