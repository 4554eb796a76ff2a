// `retrosim sweep`: its rows are those of `simulate` and `serve`, and no number of threads or ranks, no kill and no
// resumption changes a byte of them.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "tests/cli/program.h"

namespace retrosim::test {
namespace {

using ::testing::HasSubstr;

constexpr const char* kGrid = R"({"schema": "retrosim.sweep-spec/1", "command": "simulate",
  "inputs": {"llm": "smollm2-135m", "gpu": "h100-sxm", "policy": "quest"},
  "grid": [{"input": "window", "values": [1, 2, 8]}, {"input": "budget", "values": [0.1, 0.25]},
           {"input": "context", "low": 1024, "high": 8192, "points": 4, "scale": "log"},
           {"input": "batch", "low": 1, "high": 64, "points": 10}]})";

class Sweep : public ::testing::Test {
 protected:
  std::string spec(const std::string& text, const std::string& name = "spec.json") {
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }
  std::string out(const std::string& name) { return (folder_ / name).string(); }
  /// Runs to the end and returns the table.
  std::string table(const std::string& spec_file, const std::string& name, const std::string& flags = "") {
    const Outcome outcome = run("sweep " + spec_file + " --out " + out(name) + " " + flags);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("100.0 %"));
    return read_file(folder_ / name);
  }
  void expect_spec_refused(const std::string& text, const std::string& expected) {
    const std::string file = spec(text, "bad.json");
    expect_refused("sweep " + file + " --out " + out("bad.csv"), expected);
    expect_refused("sweep " + file + " --out " + out("bad.csv"), file);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "bad.csv"));
  }

  TemporaryFolder folder_;
};

TEST_F(Sweep, ThreadsDoNotChangeTheTable) {
  const std::string grid = spec(kGrid);
  const std::string one = table(grid, "one.csv");
  EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), 1 + 3 * 2 * 4 * 10);
  EXPECT_EQ(table(grid, "three.csv", "--threads 3"), one);
}

// A kill leaves the beginning of the table, perhaps with half a row.
TEST_F(Sweep, ResumedTableEqualsAnUndisturbedOne) {
  const std::string grid = spec(kGrid);
  for (const std::string name : {"t.csv", "t.jsonl"}) {
    const std::string whole = table(grid, name);
    for (const double share : {0.0, 0.01, 0.37, 1.0}) {
      std::ofstream(folder_ / name, std::ios::binary)
          << whole.substr(0, static_cast<std::size_t>(share * static_cast<double>(whole.size())));
      EXPECT_EQ(table(grid, name, "--resume --threads 2"), whole) << name << " cut off at " << share;
    }
  }
}

TEST_F(Sweep, KilledForRealAndResumed) {
  const std::string text = R"({"schema": "retrosim.sweep-spec/1", "command": "simulate",
    "inputs": {"llm": "llama-3.1-8b", "gpu": "h100-sxm", "policy": "quest"},
    "grid": [{"input": "batch", "low": 1, "high": 1000, "points": 1000}, {"input": "window", "values": [1, 2]}]})";
  const std::string big = spec(text);
  const std::string file = out("killed.csv");
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    freopen("/dev/null", "w", stderr);
    execl(program().c_str(), program().c_str(), "sweep", big.c_str(), "--out", file.c_str(), nullptr);
    _exit(127);
  }
  for (int i = 0; i < 2000 && (!std::filesystem::exists(file) || std::filesystem::file_size(file) < 20'000); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  table(big, "killed.csv", "--resume");
  EXPECT_EQ(read_file(folder_ / "killed.csv"), table(big, "whole.csv"));
}

TEST_F(Sweep, GoesOnOnlyWithItsOwnTable) {
  table(spec(kGrid), "t.csv");
  expect_refused("sweep " + out("spec.json") + " --out " + out("t.csv"), "--resume");
  std::string other = kGrid;
  other.replace(other.find("0.25"), 4, "0.35");
  expect_refused("sweep " + spec(other, "other.json") + " --out " + out("t.csv") + " --resume", "spec_xxh3_64");
}

// On recorded demand a point is the answer of `simulate` to the same question.
TEST_F(Sweep, RecordedDemandGivesTheRowsOfSimulate) {
  const std::string text = R"({"schema": "retrosim.sweep-spec/1", "command": "simulate", "demand": "recorded",
    "inputs": {"llm": "smollm2-135m", "gpu": "h100-sxm", "policy": "quest", "context": 4096, "steps": 8},
    "grid": [{"input": "window", "values": [1, 4]}]})";
  std::istringstream rows(table(spec(text), "t.jsonl"));
  std::string row;
  for (const std::string window : {"1", "4"}) {
    ASSERT_TRUE(std::getline(rows, row));
    const auto swept = nlohmann::json::parse(row);
    const auto asked =
        run("simulate --llm smollm2-135m --gpu h100-sxm --policy quest --context 4096 --steps 8 --json --window " +
            window)
            .json();
    for (const auto& [name, value] : asked.at("step").items()) EXPECT_EQ(swept.at(name), value) << name;
    EXPECT_EQ(swept.at("mass_recall"), asked.at("mass_recall").at("step"));
    EXPECT_EQ(swept.at("needed_bytes"), asked.at("gpu_memory").at("needed_bytes"));
  }
}

// One step on the mean demand against the mean of 64 recorded steps: 2 % of latency, 8 % of unseen pages, 1 % of mass
// recall (budgets are interpolated, contexts of one octave share a replay, and recalls come in bursts).
TEST_F(Sweep, MeanDemandStandsForRecordedSteps) {
  const auto text = [](const std::string& demand) {
    return R"({"schema": "retrosim.sweep-spec/1", "command": "simulate", "demand": ")" + demand + R"(",
      "inputs": {"llm": "llama-3.1-8b", "gpu": "h100-sxm", "context": 32768},
      "grid": [{"input": "policy", "values": ["quest", "arkvale", "streaming", "full"]},
               {"input": "window", "values": [1, 2, 8]}, {"input": "budget", "values": [0.06, 0.15, 0.4]}]})";
  };
  std::istringstream mean(table(spec(text("mean"), "mean.json"), "mean.jsonl"));
  std::istringstream recorded(table(spec(text("recorded"), "recorded.json"), "recorded.jsonl"));
  std::string a;
  std::string b;
  int compared = 0;
  while (std::getline(mean, a) && std::getline(recorded, b)) {
    const auto fast = nlohmann::json::parse(a);
    const auto slow = nlohmann::json::parse(b);
    ASSERT_EQ(fast.at("status"), slow.at("status"));
    if (slow.at("status") != "ok") continue;
    ++compared;
    const auto ratio = [&](const char* name) { return fast.at(name).get<double>() / slow.at(name).get<double>(); };
    EXPECT_NEAR(ratio("latency_us_mean"), 1, 0.02) << a << b;
    if (slow.at("unseen_pages_mean") > 0) {
      EXPECT_NEAR(ratio("unseen_pages_mean"), 1, 0.08) << a << b;
    }
    if (slow.at("mass_recall").is_number()) {
      EXPECT_NEAR(ratio("mass_recall"), 1, 0.01) << a << b;
    }
  }
  EXPECT_GE(compared, 18);
}

TEST_F(Sweep, CombinationsThatCannotBeAreRowsWithAReason) {
  const std::string text = R"({"schema": "retrosim.sweep-spec/1", "command": "simulate",
    "inputs": {"llm": "llama-3.1-70b", "gpu": "h100-sxm"},
    "grid": [{"input": "policy", "values": ["full", "quest"]}, {"input": "budget", "values": [0.1]},
             {"input": "tensor_parallel_size", "values": [1, 4]}]})";
  std::istringstream rows(table(spec(text), "t.jsonl"));
  const auto next = [&] {
    std::string row;
    std::getline(rows, row);
    return nlohmann::json::parse(row);
  };
  EXPECT_THAT(next().at("reason"), HasSubstr("--budget"));  // full attention has no budget
  EXPECT_EQ(next().at("status"), "refused");
  EXPECT_EQ(next().at("status"), "does not fit");  // 141 GB of weights on one GPU
  EXPECT_EQ(next().at("status"), "ok");
}

TEST_F(Sweep, ServesAHypercubeTheSameWithAnyThreads) {
  const std::string text = R"({"schema": "retrosim.sweep-spec/1", "command": "serve",
    "inputs": {"llm": "smollm2-135m", "gpu": "h100-sxm", "num_requests": 40, "input_len": 200, "output_len": "20"},
    "latin_hypercube": {"samples": 6, "seed": 5, "axes": [
      {"input": "request_rate", "low": 1, "high": 100, "scale": "log"}, {"input": "max_num_seqs", "low": 1, "high": 32},
      {"input": "policy", "values": ["full", "retro"]}]}})";
  const std::string one = table(spec(text), "one.csv");
  EXPECT_EQ(table(spec(text), "two.csv", "--threads 2"), one);
  EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), 7);
  EXPECT_THAT(one, HasSubstr("ttft_ms_p99"));
  EXPECT_THAT(one, ::testing::Not(HasSubstr("refused")));
}

TEST_F(Sweep, SpecErrorsNameFileFieldAndValue) {
  const auto with = [](const std::string& inputs, const std::string& rest) {
    return R"({"schema": "retrosim.sweep-spec/1", "command": "simulate", "inputs": {"llm": "smollm2-135m", "gpu": "h100-sxm")" +
           inputs + "}, " + rest + "}";
  };
  const std::string axis = R"("grid": [{"input": "batch", "values": [1]}])";
  expect_spec_refused("{", "not valid JSON");
  expect_spec_refused(R"({"schema": "retrosim.sweep-spec/2"})", "schema: got retrosim.sweep-spec/2");
  expect_spec_refused(with(R"(, "windw": 2)", axis), "inputs.windw: got windw, expected an input of simulate");
  expect_spec_refused(with(R"(, "request_rate": 2)", axis), "inputs.request_rate");
  expect_spec_refused(with(R"(, "window": 0)", axis), "inputs.window: got 0, expected a whole number in [1, 64]");
  expect_spec_refused(with(R"(, "window": 2.5)", axis), "got 2.5");
  expect_spec_refused(with(R"(, "policy": "questt")", axis), "inputs.policy");
  expect_spec_refused(with(R"(, "batch": 2)", axis), "grid[0].input: got batch, expected every input once");
  expect_spec_refused(with("", R"("grid": [{"input": "gpu", "values": ["h100-sxm"]}])"), "every input once");
  expect_spec_refused(with("", R"("grid": [{"input": "batch", "values": [1, "x"]}])"), "grid[0].values[1]: got \"x\"");
  expect_spec_refused(with("", R"("grid": [{"input": "batch", "low": 0, "high": 4, "points": 2}])"), "grid[0].low");
  expect_spec_refused(with("", R"("grid": [{"input": "policy", "low": 0, "high": 4, "points": 2}])"),
                      "policy is no number");
  expect_spec_refused(with("", R"("grid": [{"input": "batch", "values": [1], "points": 2}])"), "grid[0].points");
  expect_spec_refused(with("", R"("grid": [])"), "grid: got 0 axes");
  expect_spec_refused(with("", axis + R"(, "latin_hypercube": {})"), "either grid or latin_hypercube");
  expect_spec_refused(with("", R"("latin_hypercube": {"samples": 0, "axes": []})"), "latin_hypercube.samples: got 0");
  expect_spec_refused(with("", axis + R"(, "steps": 3)"), "steps");
  expect_refused("sweep " + out("none.json") + " --out " + out("t.csv"), "none.json");
  expect_refused("sweep " + spec(kGrid) + " --out " + out("t.txt"), ".csv or .jsonl");
  expect_refused("sweep " + spec(kGrid) + " --out " + out("t.csv") + " --threads 0", "--threads");
}

class MpiSweep : public Sweep {
 protected:
  void SetUp() override {
    if (std::system("mpirun --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "mpirun is not installed";
  }
  /// Shell text that runs the program on so many ranks.
  static std::string mpirun(int ranks, const std::string& flags) {
    return "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe " + flags + " -n " +
           std::to_string(ranks) + " '" + program() + "' ";
  }
};

TEST_F(MpiSweep, RanksDoNotChangeTheTable) {
  const std::string grid = spec(kGrid);
  const std::string alone = table(grid, "alone.csv");
  for (const int ranks : {2, 3}) {
    const std::string name = std::to_string(ranks) + ".csv";
    EXPECT_EQ(std::system((mpirun(ranks, "") + "sweep " + grid + " --out " + out(name) + " 2>/dev/null").c_str()), 0);
    EXPECT_EQ(read_file(folder_ / name), alone) << ranks;
  }
}

// Of three ranks one (not rank 0) is killed in the middle: with --enable-recovery the others finish the table.
TEST_F(MpiSweep, OutlivesALostRank) {
  const std::string text = R"({"schema": "retrosim.sweep-spec/1", "command": "simulate",
    "inputs": {"llm": "llama-3.1-70b", "gpu": "h100-sxm", "policy": "quest", "tensor_parallel_size": 8},
    "grid": [{"input": "batch", "low": 1, "high": 1500, "points": 1500}, {"input": "window", "values": [1, 2]}]})";
  const std::string grid = spec(text);
  const std::string alone = table(grid, "alone.csv");
  // The rank's shell writes its process id and then becomes the program.
  const std::string rank = "sh -c 'echo $$ > " + out("pid") + ".$OMPI_COMM_WORLD_RANK; exec " + program() + " sweep " +
                           grid + " --out " + out("lost.csv") + " --rank-timeout-s 2'";
  const std::string command =
      "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe --enable-recovery -n 3 " +
      rank + " >/dev/null 2>&1 & mpi=$!; for i in $(seq 500); do [ -s " + out("lost.csv") +
      " ] && break; sleep 0.02; done; kill -9 $(cat " + out("pid") + ".2); wait $mpi";
  std::system(command.c_str());
  EXPECT_EQ(read_file(folder_ / "lost.csv"), alone);
}

}  // namespace
}  // namespace retrosim::test
