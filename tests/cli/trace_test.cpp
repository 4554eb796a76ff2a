#include <gmock/gmock.h>

#include "tests/cli/program.h"
#include "tests/cli/synthetic_trace.h"

namespace retrosim::test {
namespace {

using nlohmann::json;

TEST(TraceInfo, DescribesTheFile) {
  const TemporaryFolder folder;
  const std::string trace = (folder / "t.rtrace").string();
  write_trace(trace, {.num_layers = 3, .steps = 40});
  const json answer = run("trace info " + trace + " --json").json();
  EXPECT_EQ(answer.at("schema"), "retrosim.trace_info/1");
  EXPECT_EQ(answer.at("file"), trace);
  EXPECT_EQ(answer.at("num_steps"), 40);
  EXPECT_EQ(answer.at("file_bytes"), std::filesystem::file_size(trace));
  EXPECT_FALSE(answer.at("truncated").get<bool>());
  EXPECT_THAT(run("trace info " + trace).out, ::testing::HasSubstr("40 in 3 chunks"));  // ceil(40 / 16)
}

TEST(TraceInfo, ReadsACutTraceUpToItsLastWholeChunk) {
  const TemporaryFolder folder;
  const std::string trace = (folder / "t.rtrace").string();
  write_trace(trace, {.steps = 96});
  const std::string bytes = read_file(trace);
  std::ofstream(trace, std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  for (const char* what : {"info ", "stats "}) {
    const Outcome outcome = run("trace " + std::string(what) + trace + " --json");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_TRUE(outcome.json().at("truncated").get<bool>());
    EXPECT_EQ(outcome.err_lines(), 1U);
    EXPECT_THAT(outcome.err, ::testing::HasSubstr("cut off"));
    const int steps = outcome.json().at("num_steps");
    EXPECT_EQ(steps % 16, 0);
    EXPECT_GT(steps, 0);
    EXPECT_LT(steps, 96);
  }
}

TEST(TraceStats, ASteadySelectionOverlapsWholly) {
  const TemporaryFolder folder;
  const std::string trace = (folder / "steady.rtrace").string();
  // One page of 16 tokens starts per 16 steps; 8 steps from position 1024 (65 pages) stay on the same page.
  write_trace(trace, {.first_position = 1024, .steps = 8});
  const json answer = run("trace stats " + trace + " --budget 0.15 --windows 1,2,4 --json").json();
  EXPECT_EQ(answer.at("schema"), "retrosim.trace_stats/1");
  EXPECT_EQ(answer.at("overlap_topk"), 1.0);
  EXPECT_EQ(answer.at("unseen_pages_mean"), 0.0);
  for (const json& point : answer.at("exposure")) EXPECT_EQ(point.at("ratio"), 1.0);
  // k = ceil(0.15 * 65) = 10 of 65 pages with equal masses.
  for (const json& point : answer.at("mass_recall")) EXPECT_NEAR(point.at("mean").get<double>(), 10.0 / 65, 1e-3);
  EXPECT_EQ(answer.at("per_layer").size(), 4U);
  EXPECT_EQ(answer.at("per_layer").at(0).at("overlap_topk"), 1.0);
}

TEST(TraceStats, ATurningSelectionIsExposedByWhatItTurns) {
  const TemporaryFolder folder;
  const std::string trace = (folder / "turning.rtrace").string();
  write_trace(trace, {.first_position = 1024, .steps = 8, .turn_pages = 3});
  const json answer = run("trace stats " + trace + " --budget 0.15 --windows 1,2 --json").json();
  // k = 10: step t takes pages 3t .. 3t+8 and the open page 64. Of the next step's, 3t+3 .. 3t+8 and 64 were there: 7.
  EXPECT_DOUBLE_EQ(answer.at("overlap_topk").get<double>(), 0.7);
  EXPECT_DOUBLE_EQ(answer.at("unseen_pages_mean").get<double>(), 3.0);
  EXPECT_EQ(answer.at("exposure").at(1).at("n"), 1);
  EXPECT_DOUBLE_EQ(answer.at("exposure").at(1).at("ratio").get<double>(), 1.3);
}

TEST(TraceStats, EveryFlagChangesTheAnswer) {
  const TemporaryFolder folder;
  const std::string trace = (folder / "t.rtrace").string();
  write_trace(trace, {.turn_pages = 3});
  const std::string plain = "trace stats " + trace + " --json ";
  const json before = run(plain).json();
  for (const char* flags : {"--budget 0.5", "--budget-tokens 64", "--windows 1,2", "--policy streaming"}) {
    const json after = run(plain + flags).json();
    EXPECT_NE(before.at("inputs"), after.at("inputs")) << flags;
    EXPECT_NE(before.at("mass_recall"), after.at("mass_recall")) << flags;
  }
  expect_refused("trace stats " + trace + " --windows 0,1", "--windows");
  expect_refused("trace stats " + trace + " --budget 0", "--budget");
  expect_refused("trace stats " + trace + " --policy full --budget 0.5", "--budget");
  expect_refused("trace stats " + trace + " --policy retro", "retro");
}

// Budgets, page sizes, lags, reuse, heads: each answers, and agrees with the headline where it says the same.
TEST(TraceStats, GoesIntoDepth) {
  const TemporaryFolder folder;
  const std::string trace = (folder / "t.rtrace").string();
  write_trace(trace, {.first_position = 1024, .steps = 40, .turn_pages = 3});
  const std::string plain = "trace stats " + trace + " --windows 1,2,4 ";
  const json answer = run(plain + "--budgets 0.05,0.15,1 --page-sizes 32 --max-lag 5 --json").json();
  EXPECT_EQ(answer.at("overlap_by_lag").size(), 5U);
  EXPECT_EQ(answer.at("overlap_by_lag").at(4).at("lag"), 5);
  EXPECT_LE(answer.at("overlap_topk_low_95"), answer.at("overlap_topk"));
  EXPECT_GE(answer.at("overlap_topk_high_95"), answer.at("overlap_topk"));
  ASSERT_EQ(answer.at("budgets").size(), 3U);
  EXPECT_EQ(answer.at("budgets").at(1).at("overlap_topk"), answer.at("overlap_topk"));
  EXPECT_EQ(answer.at("budgets").at(1).at("exposure").at(2).at("ratio"), answer.at("exposure").at(2).at("ratio"));
  EXPECT_NEAR(answer.at("budgets").at(2).at("oracle_recall").get<double>(), 1.0, 1e-6);
  ASSERT_EQ(answer.at("page_sizes").size(), 1U);
  EXPECT_EQ(answer.at("page_sizes").at(0).at("page_size_tokens"), 32);
  EXPECT_EQ(answer.at("later_steps").size(), 3U);
  EXPECT_EQ(answer.at("per_head").size(), 4U * answer.at("per_head").back().at("head").get<std::size_t>() + 4U);
  EXPECT_GT(answer.at("reuse").at("lru_miss_ratio").size(), 3U);
  expect_refused(plain + "--budgets 0.5,0.2", "--budgets");
  expect_refused(plain + "--budgets 0.5 --policy streaming", "--budgets");
  expect_refused(plain + "--page-sizes 24", "--page-sizes");
  expect_refused(plain + "--max-lag -1", "--max-lag");
  expect_refused(plain + "--block-steps 0", "--block-steps");
  expect_refused(plain + "--resamples 3", "--resamples");
  expect_refused(plain + "--out /dev/null/nowhere", "--out");
}

TEST(TraceStats, LeavesTablesAndCharts) {
  const TemporaryFolder folder;
  const std::string trace = (folder / "t.rtrace").string();
  write_trace(trace, {.first_position = 1024, .steps = 40, .turn_pages = 3});
  const std::string out = (folder / "stats").string();
  const Outcome outcome = run("trace stats " + trace + " --windows 1,2,4 --out " + out);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(read_file(out + "/trace-stats.txt"), outcome.out);
  EXPECT_EQ(json::parse(read_file(out + "/trace-stats.json")).at("schema"), "retrosim.trace_stats/1");
  for (const char* chart : {"overlap-by-lag", "later-steps", "recall-by-budget"}) {
    EXPECT_THAT(read_file(out + "/" + chart + ".svg"), ::testing::StartsWith("<svg"));
    EXPECT_THAT(read_file(out + "/index.html"), ::testing::HasSubstr(std::string(chart) + ".svg"));
  }
}

// The label goes with the trace: info and simulate repeat it.
TEST(TraceSynthesize, LabelsWhatItWritesAndEveryReaderShowsIt) {
  const TemporaryFolder folder;
  const std::string recorded = (folder / "r.rtrace").string();
  const std::string out = (folder / "s.rtrace").string();
  write_trace(recorded, {.turn_pages = 1});
  const json answer =
      run("trace synthesize --from " + recorded + " --holdout --context 2048 --steps 40 --out " + out + " --json")
          .json();
  EXPECT_EQ(answer.at("schema"), "retrosim.trace_synthesize/1");
  EXPECT_EQ(answer.at("inputs").at("steps"), 40);
  EXPECT_EQ(answer.at("held_out").at(0).at("unseen_steps"), 48);
  const std::string label = answer.at("label");
  const bool within = answer.at("held_out").at(0).at("worst_gap").get<double>() <= 0.05;
  EXPECT_THAT(label, ::testing::StartsWith(within ? "synthetic, within 5 %" : "synthetic, not within 5 %"));
  EXPECT_FALSE(std::filesystem::exists(out + ".held-out"));
  EXPECT_EQ(run("trace info " + out + " --json").json().at("header").at("synthetic"), label);
  EXPECT_THAT(run("trace info " + out).out, ::testing::HasSubstr(label));
  const std::string simulate =
      "simulate --llm llama-3.1-8b --gpu h100-sxm --policy quest --context 2048 --trace " + out;
  EXPECT_EQ(run(simulate + " --json").json().at("trace_mapping").at("synthetic"), label);
  EXPECT_THAT(run(simulate).out, ::testing::HasSubstr(label));
  EXPECT_FALSE(run("trace info " + recorded + " --json").json().at("header").contains("synthetic"));
  expect_refused("trace synthesize --from " + out + " --out " + recorded + "2", "synthetic");
  expect_refused("trace synthesize --from " + recorded + " --context 100 --out " + out, "--context");
  expect_refused("trace synthesize --from " + recorded + " --out /nowhere/x.rtrace", "--out");
}

}  // namespace
}  // namespace retrosim::test
