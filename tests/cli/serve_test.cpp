// `retrosim serve`.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <vector>

#include "tests/cli/program.h"

namespace retrosim::test {
namespace {

constexpr const char* kServe =
    "serve --llm smollm2-135m --gpu h100-sxm --input-len 300 --output-len 30 --num-requests 50 --request-rate 20 ";

TEST(Serve, AnswersTheSameTwice) {
  const Outcome first = run(std::string(kServe) + "--json");
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(run(std::string(kServe) + "--json").out, first.out);
  const auto answer = first.json();
  EXPECT_EQ(answer.at("schema"), "retrosim.serve/1");
  EXPECT_EQ(answer.at("requests").at("finished"), 50);
  EXPECT_EQ(answer.at("steps").at("generated_tokens"), 50 * 30);
  EXPECT_LT(answer.at("step_latency_model").at("max_abs_error"), 0.01);
  EXPECT_NE(run(std::string(kServe) + "--json --seed 1").out, first.out);
}

TEST(Serve, TablesHaveALinePerRequestAndSecond) {
  const TemporaryFolder folder;
  const std::string requests = (folder / "r.csv").string();
  const std::string seconds = (folder / "s.csv").string();
  ASSERT_EQ(run(std::string(kServe) + "--requests-csv " + requests + " --seconds-csv " + seconds).exit_code, 0);
  const std::string text = read_file(requests);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 51);
  EXPECT_THAT(read_file(seconds), ::testing::StartsWith("t_s,arrivals,"));
}

/// Every step and request of the run is in the timeline: the steps' shapes add up to the run's totals, and no two runs
/// of steps of one replica overlap.
TEST(Serve, TimelineHoldsTheWholeRun) {
  // So fast that sequences are preempted.
  const std::string serve =
      "serve --llm smollm2-135m --gpu h100-sxm --input-len 300 --output-len 30 --num-requests 50 --request-rate 1000 "
      "--replicas 2 --num-gpu-blocks-override 60 --json";
  const TemporaryFolder folder;
  const std::string file = (folder / "t.json").string();
  const Outcome outcome = run(serve + " --timeline " + file);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto answer = outcome.json();
  const auto timeline = nlohmann::json::parse(read_file(file));
  std::int64_t steps = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t preemptions = 0;
  std::map<std::string, int> slices;
  std::map<int, double> end_of_process;
  for (const auto& event : timeline.at("traceEvents")) {
    const std::string phase = event.at("ph");
    if (phase == "i") ++preemptions;
    if (phase == "b") ++slices[event.at("name").get<std::string>().substr(0, 7)];
    if (phase == "e") --slices[event.at("name").get<std::string>().substr(0, 7)];
    if (phase != "X") continue;
    steps += event.at("args").at("steps").get<std::int64_t>();
    prompt_tokens += event.at("args").at("prompt_tokens").get<std::int64_t>();
    const int pid = event.at("pid");
    EXPECT_GE(event.at("ts").get<double>(), end_of_process[pid] - 1e-6);
    end_of_process[pid] = event.at("ts").get<double>() + event.at("dur").get<double>();
  }
  EXPECT_EQ(steps, answer.at("steps").at("count"));
  EXPECT_EQ(prompt_tokens, answer.at("steps").at("prompt_tokens"));
  EXPECT_EQ(preemptions, answer.at("requests").at("preemptions"));
  EXPECT_GT(preemptions, 0);
  EXPECT_EQ(end_of_process.size(), 2U);
  for (const auto& [name, open] : slices) EXPECT_EQ(open, 0) << name;
  EXPECT_EQ(slices.size(), 4U);
  // The answer is the same without it.
  EXPECT_EQ(run(serve).out, outcome.out);
  expect_refused(std::string(kServe) + "--timeline /nowhere/t.json", "--timeline");
}

/// A run of decode steps of many seconds has its gauges in each of them.
TEST(Serve, EverySecondHasItsGauges) {
  const TemporaryFolder folder;
  const std::string file = (folder / "s.csv").string();
  ASSERT_EQ(run("serve --llm llama-3.1-8b --gpu h100-sxm --input-len 100 --output-len 2000 --num-requests 1 "
                "--seconds-csv " +
                file)
                .exit_code,
            0);
  std::istringstream lines(read_file(file));
  std::string line;
  std::getline(lines, line);
  int seconds = 0;
  while (std::getline(lines, line)) {
    std::vector<std::string> cells;
    std::istringstream row(line);
    for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
    ASSERT_EQ(cells.size(), 8U);
    const bool last = lines.peek() == std::char_traits<char>::eof();
    EXPECT_EQ(cells[5], last ? "0" : "1") << line;
    ++seconds;
  }
  EXPECT_GT(seconds, 5);
}

TEST(Serve, PublishedArrivalsAndTheirLimits) {
  const std::string serve = "serve --llm smollm2-135m --gpu h100-sxm --num-requests 50 ";
  const Outcome outcome =
      run(serve + "--workload mooncake-toolagent --max-model-len 8192 --arrivals azure-code --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.json().at("inputs").at("workload").get<std::string>(),
              ::testing::HasSubstr("gamma (cv 13.15) at 2.567 requests/s"));
  expect_refused(serve + "--arrivals mooncake-toolagent", "--arrivals");
  expect_refused(serve + "--arrivals azure-code --arrival-cv 2", "--arrival-cv");
  expect_refused(serve + "--arrivals nobody", "--arrivals");
}

TEST(Serve, PoliciesHaveTheirVariantsAndOptions) {
  const Outcome arkvale = run(std::string(kServe) + "--policy arkvale --policy-variant released --json");
  ASSERT_EQ(arkvale.exit_code, 0) << arkvale.err;
  EXPECT_EQ(arkvale.json().at("inputs").at("policy_variant"), "released");
  const Outcome reuse = run(std::string(kServe) + "--policy reuse --policy-option interval=8 --json");
  ASSERT_EQ(reuse.exit_code, 0) << reuse.err;
  EXPECT_EQ(reuse.json().at("inputs").at("policy_options").at("interval"), 8);
  expect_refused(std::string(kServe) + "--policy quest --policy-option no_such=1", "no_such");
  expect_refused(std::string(kServe) + "--policy full --budget 0.1", "--budget");
}

TEST(Serve, SaysWhatDoesNotFit) {
  const Outcome outcome = run("serve --llm llama-3.1-70b --gpu rtx-4090 --num-requests 5");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("does not fit"));
  expect_refused("serve --llm smollm2-135m --gpu h100-sxm --workload no-such-preset", "azure-conv");
  expect_refused(std::string(kServe) + "--max-num-seqs 0", "max_num_seqs");
}

}  // namespace
}  // namespace retrosim::test
