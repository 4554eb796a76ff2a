#include <gmock/gmock.h>

#include <cmath>

#include "tests/cli/program.h"
#include "tests/cli/synthetic_trace.h"

namespace retrosim::test {
namespace {

using nlohmann::json;

class Simulate : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    write_trace(*folder_ / "steady.rtrace", {.turn_pages = 0});
    write_trace(*folder_ / "slow.rtrace", {.turn_pages = 3});
    write_trace(*folder_ / "fast.rtrace", {.turn_pages = 20});
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static std::string trace(const std::string& name) { return (*folder_ / (name + ".rtrace")).string(); }
  static std::string base(const std::string& name = "slow") {
    return "simulate --llm llama-3.1-8b --gpu h100-sxm --context 32768 --steps 8 --json --trace " + trace(name) + " ";
  }
  static json simulate(const std::string& arguments) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.exit_code == 0 ? outcome.json() : json();
  }

  static TemporaryFolder* folder_;
};
TemporaryFolder* Simulate::folder_ = nullptr;

TEST_F(Simulate, PrintsTheDocumentedFields) {
  const json answer = simulate(base() + "--policy retro --window 2 --budget 0.15 --batch 1");
  EXPECT_EQ(answer.at("schema"), "retrosim.simulate/1");
  const json& inputs = answer.at("inputs");
  EXPECT_EQ(inputs.at("llm"), "llama-3.1-8b");
  EXPECT_EQ(inputs.at("gpu"), "h100-sxm");
  EXPECT_EQ(inputs.at("policy"), "retro");
  EXPECT_EQ(inputs.at("window"), 2);
  EXPECT_EQ(inputs.at("page_size"), 16);
  EXPECT_EQ(inputs.at("dense_layers"), 2);
  EXPECT_EQ(inputs.at("num_pages"), 2048);
  EXPECT_EQ(inputs.at("pages_selected"), 308);  // ceil(0.15 * 2048) = ceil(307.2)
  EXPECT_FALSE(answer.at("trace_mapping").at("exact").get<bool>());
  EXPECT_FALSE(answer.at("ops").empty());
  for (const char* key : {"name", "layer", "latency_us", "bound", "hbm_bytes", "flops", "provenance"}) {
    EXPECT_TRUE(answer.at("ops").at(0).contains(key)) << key;
  }
}

TEST_F(Simulate, ReadsSumToHbmReads) {
  const json answer = simulate(base() + "--policy retro --window 4 --batch 3");
  for (const json& step :
       {answer.at("step"), answer.at("versus").at("full"), answer.at("versus").at("without_retro")}) {
    double sum = 0;
    for (const char* key :
         {"kv_read_bytes", "summary_read_bytes", "weight_read_bytes", "output_cache_read_bytes", "other_read_bytes"}) {
      sum += step.at(key).get<double>();
    }
    EXPECT_NEAR(sum, step.at("hbm_read_bytes").get<double>(), 1e-9 * sum);
  }
}

TEST_F(Simulate, KvBytesAreThoseOfTheFormula) {
  const json answer = simulate(base() + "--policy retro --window 2 --budget 0.15");
  // full: 32 layers * 2 (K and V) * 8 KV heads * 32768 tokens * 128 elements * 2 bytes
  EXPECT_DOUBLE_EQ(answer.at("versus").at("full").at("kv_read_bytes").get<double>(), 32.0 * 2 * 8 * 32768 * 128 * 2);
  // quest: 2 dense layers, 30 with 308 pages of 16 tokens
  EXPECT_DOUBLE_EQ(answer.at("step").at("kv_read_bytes").get<double>(),
                   2.0 * 2 * 8 * 32768 * 128 * 2 + 30.0 * 2 * 8 * 308 * 16 * 128 * 2);
}

// I6: KV bytes read do not depend on the window; the window costs output-cache reads instead.
TEST_F(Simulate, KvReadsDoNotDependOnTheWindow) {
  const json answer = simulate(base() + "--policy quest --window 8");
  const json& single = answer.at("versus").at("without_retro");
  EXPECT_EQ(answer.at("step").at("kv_read_bytes"), single.at("kv_read_bytes"));
  EXPECT_EQ(single.at("output_cache_read_bytes"), 0);
  EXPECT_GT(answer.at("step").at("output_cache_read_bytes"), 0);
  EXPECT_GT(answer.at("step").at("kv_write_bytes"), single.at("kv_write_bytes"));
}

TEST_F(Simulate, Window1IsWithoutRetro) {
  const json answer = simulate(base() + "--policy quest --window 1");
  EXPECT_EQ(answer.at("step"), answer.at("versus").at("without_retro"));
  EXPECT_EQ(answer.at("step"), simulate(base() + "--policy retro --window 4").at("versus").at("without_retro"));
  EXPECT_EQ(answer.at("step").at("unseen_pages_mean"), 0);
  EXPECT_EQ(answer.at("step").at("output_cache_state_bytes"), 0);
}

TEST_F(Simulate, FullBudgetSeesNothingUnseenAndReadsAllKeys) {
  const json answer = simulate(base("fast") + "--policy retro --budget 1");
  EXPECT_EQ(answer.at("step").at("unseen_pages_mean"), 0);
  EXPECT_EQ(answer.at("step").at("kv_read_bytes"), answer.at("versus").at("full").at("kv_read_bytes"));
}

TEST_F(Simulate, TracesOfDifferentOverlapDiffer) {
  double unseen = -1;
  double flops = 0;
  double latency_us = 0;
  for (const char* name : {"steady", "slow", "fast"}) {
    const json step = simulate(base(name) + "--policy retro --window 4 --batch 32").at("step");
    EXPECT_GT(step.at("unseen_pages_mean").get<double>(), unseen) << name;
    EXPECT_GT(step.at("flops").get<double>(), flops) << name;
    EXPECT_GE(step.at("latency_us_mean").get<double>(), latency_us) << name;
    unseen = step.at("unseen_pages_mean");
    flops = step.at("flops");
    latency_us = step.at("latency_us_mean");
  }
  EXPECT_GT(
      latency_us,
      simulate(base("steady") + "--policy retro --window 4 --batch 32").at("step").at("latency_us_mean").get<double>());
}

TEST_F(Simulate, SameBytesTwice) {
  const std::string arguments = base() + "--policy retro --window 4 --batch 5";
  EXPECT_EQ(run(arguments).out, run(arguments).out);
}

TEST_F(Simulate, RetroIsQuestWithWindow2) {
  const json retro = simulate(base() + "--policy retro");
  const json quest = simulate(base() + "--policy quest --window 2");
  EXPECT_EQ(retro.at("step"), quest.at("step"));
  EXPECT_EQ(retro.at("ops"), quest.at("ops"));
}

TEST_F(Simulate, TruncatedTraceIsReadWithAWarning) {
  std::string bytes = read_file(trace("slow"));
  const std::string cut = (*folder_ / "cut.rtrace").string();
  std::ofstream(cut, std::ios::binary) << bytes.substr(0, bytes.size() * 2 / 3);
  const Outcome outcome = run("simulate --llm llama-3.1-8b --gpu h100-sxm --steps 8 --json --trace " + cut);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(outcome.json().at("truncated").get<bool>());
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("cut off"));
  EXPECT_FALSE(simulate(base()).at("truncated").get<bool>());
}

// Every flag changes the answer (here) or is refused (Usage.RefusesFlagsWithoutEffect).
TEST_F(Simulate, EveryFlagChangesTheAnswer) {
  const std::string common = "simulate --gpu h100-sxm --json --llm ";
  const std::string plain = common + "llama-3.1-8b --policy retro --trace " + trace("slow") + " ";
  const json before = simulate(plain);
  for (const char* flags :
       {"--window 4", "--budget 0.3", "--budget-tokens 1024", "--context 16384", "--batch 4", "--page-size 32",
        "--dense-layers 0", "--kv-cache-dtype fp8", "--tensor-parallel-size 2", "--steps 8 --batch 2",
        "--output-cache-dtype float32", "--mask-unseen-rows", "--widen-summaries", "--carry-older-rows"}) {
    const json after = simulate(plain + flags);
    EXPECT_NE(before.at("inputs"), after.at("inputs")) << flags;
    EXPECT_NE(before.at("step"), after.at("step")) << flags;
  }
  EXPECT_NE(before.at("step"),
            simulate("simulate --json --llm llama-3.1-8b --gpu a100-sxm --trace " + trace("slow")).at("step"));
  EXPECT_NE(before.at("step"), simulate(common + "qwen2.5-14b --trace " + trace("slow")).at("step"));
  EXPECT_NE(before.at("step"), simulate(common + "llama-3.1-8b --policy full").at("step"));
  EXPECT_NE(before.at("step"), simulate(common + "llama-3.1-8b --policy streaming").at("step"));
  EXPECT_NE(before.at("step"), simulate(common + "llama-3.1-8b --trace " + trace("fast")).at("step"));
}

TEST_F(Simulate, WritesTimelineAndGraph) {
  const std::string timeline = (*folder_ / "timeline.json").string();
  const std::string graph = (*folder_ / "graph.dot").string();
  const json answer = simulate(base() + "--timeline " + timeline + " --graph " + graph);
  const json events = json::parse(read_file(timeline)).at("traceEvents");
  std::size_t complete = 0;
  for (const json& event : events) {
    if (event.at("ph") == "X" && event.at("pid") == 1) ++complete;
  }
  EXPECT_EQ(complete, answer.at("ops").size());
  EXPECT_THAT(read_file(graph), ::testing::StartsWith("digraph"));
}

TEST_F(Simulate, PrintsATableForPeople) {
  const Outcome outcome = run("simulate --llm llama-3.1-8b --gpu h100-sxm --policy retro --trace " + trace("slow"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* text : {"latency, mean", "KV read", "unseen pages", "provenance", "trace:"}) {
    EXPECT_THAT(outcome.out, ::testing::HasSubstr(text));
  }
}

}  // namespace
}  // namespace retrosim::test
