#include <gmock/gmock.h>

#include <cstdint>

#include "tests/cli/program.h"
#include "tests/cli/synthetic_trace.h"

namespace retrosim::test {
namespace {

const char* const kSimulate = "simulate --gpu h100-sxm --llm llama-3.1-8b ";

TEST(Usage, HelpAndVersionGoToStdout) {
  for (const char* arguments : {"--help", "--version", "simulate --help", "trace stats --help"}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << arguments;
    EXPECT_NE(outcome.out, "") << arguments;
    EXPECT_EQ(outcome.err, "") << arguments;
  }
}

TEST(Usage, RefusesWhatItDoesNotKnow) {
  expect_refused("", "subcommand");
  expect_refused("forecast", "forecast");
  expect_refused(std::string(kSimulate) + "--windw 2", "--windw");
  expect_refused(std::string(kSimulate) + "--window two", "--window");
  expect_refused(std::string(kSimulate) + "--window 2 --window 4", "--window");
  expect_refused("simulate --gpu h100-sxm", "--llm");
  expect_refused("simulate --llm llama-3.1-8b", "--gpu");
  expect_refused("simulate --gpu h100-sxm --llm gpt-9", "gpt-9");
  expect_refused("simulate --gpu h999 --llm llama-3.1-8b", "h999");
  expect_refused(std::string(kSimulate) + "--policy random", "random");
  expect_refused(std::string(kSimulate) + "--kv-cache-dtype fp3", "fp3");
}

TEST(Usage, RefusesImpossibleShapes) {
  for (const auto& [flags, expected] :
       std::vector<std::pair<std::string, std::string>>{{"--budget 0", "--budget"},
                                                        {"--budget -0.5", "--budget"},
                                                        {"--budget 1.5", "--budget"},
                                                        {"--budget nan", "--budget"},
                                                        {"--budget-tokens 0", "--budget-tokens"},
                                                        {"--window 0", "--window"},
                                                        {"--window 65", "--window"},
                                                        {"--context 0", "context"},
                                                        {"--context 999999999", "131072"},
                                                        {"--batch 0", "batch"},
                                                        {"--page-size 0", "page_size"},
                                                        {"--dense-layers 33", "dense_layers"},
                                                        {"--tensor-parallel-size 3", "tensor_parallel_size"},
                                                        {"--steps 0", "--steps"}}) {
    expect_refused(kSimulate + flags, expected);
  }
}

TEST(Usage, RefusesFlagsWithoutEffect) {
  for (const auto& [flags, expected] : std::vector<std::pair<std::string, std::string>>{
           {"--policy full --budget 0.5", "--budget"},
           {"--policy full --budget-tokens 512", "--budget-tokens"},
           {"--policy quest --policy-variant released", "policy variant"},
           {"--policy quest --policy-option interval=4", "option"},
           {"--policy reuse --policy-option interval", "--policy-option"},
           {"--policy reuse --policy-option interval=0", "interval"},
           {"--policy magicpig --window 2", "window"},
           {"--policy full --dense-layers 1", "--dense-layers"},
           {"--policy full --trace x.rtrace", "--trace"},
           {"--policy streaming --trace x.rtrace", "--trace"},
           {"--policy streaming --window 2 --widen-summaries", "--widen-summaries"},
           {"--policy quest --mask-unseen-rows", "--mask-unseen-rows"},
           {"--policy quest --widen-summaries", "--widen-summaries"},
           {"--policy quest --carry-older-rows", "--carry-older-rows"},
           {"--policy quest --output-cache-dtype float32", "--output-cache-dtype"},
           {"--budget 0.2 --budget-tokens 512", "--budget-tokens"},
           {"--graph-all-layers", "--graph"}}) {
    expect_refused(kSimulate + flags, expected);
  }
}

TEST(Usage, RefusesMissingFiles) {
  expect_refused(std::string(kSimulate) + "--trace /nowhere/x.rtrace", "/nowhere/x.rtrace");
  expect_refused("simulate --llm llama-3.1-8b --profile /nowhere/p.json", "/nowhere/p.json");
  expect_refused("simulate --gpu h100-sxm --llm /nowhere/config.json", "/nowhere/config.json");
  expect_refused("trace info /nowhere/x.rtrace", "/nowhere/x.rtrace");
  expect_refused("trace stats /nowhere/x.rtrace", "/nowhere/x.rtrace");
  expect_refused("trace record --checkpoint /nowhere --tokens /nowhere/t.json --out /tmp/never.rtrace", "/nowhere");
  expect_refused("calibrate fit-published --measured /nowhere --out /tmp/never.json", "/nowhere");
  EXPECT_FALSE(std::filesystem::exists("/tmp/never.rtrace"));
  EXPECT_FALSE(std::filesystem::exists("/tmp/never.json"));
}

TEST(Usage, RefusesAConfigWithAStringForANumber) {
  const TemporaryFolder folder;
  const std::string config = (folder / "config.json").string();
  std::ofstream(config) << R"({"model_type": "llama", "num_hidden_layers": "32", "hidden_size": 4096,
    "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0})";
  expect_refused("simulate --gpu h100-sxm --llm " + config, "num_hidden_layers");
}

TEST(Usage, RefusesADamagedChunkAndLeavesNoFile) {
  const TemporaryFolder folder;
  const std::string trace = (folder / "damaged.rtrace").string();
  write_trace(trace, {.turn_pages = 3});
  std::string bytes = read_file(trace);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x40);
  std::ofstream(trace, std::ios::binary) << bytes;
  const std::string timeline = (folder / "timeline.json").string();
  const std::string report = (folder / "report.html").string();
  expect_refused("trace info " + trace, trace);
  expect_refused("trace stats " + trace, trace);
  expect_refused(std::string(kSimulate) + "--steps 90 --trace " + trace + " --timeline " + timeline, trace);
  expect_refused("report --gpu h100-sxm --llm llama-3.1-8b --steps 90 --trace " + trace + " --out " + report, trace);
  EXPECT_THAT(folder.files(), ::testing::ElementsAre("damaged.rtrace"));
}

TEST(Usage, RefusesAFileThatIsNoTrace) {
  const TemporaryFolder folder;
  const std::string file = (folder / "no.rtrace").string();
  std::ofstream(file) << "hello";
  expect_refused("trace info " + file, file);
  expect_refused(std::string(kSimulate) + "--trace " + file, file);
}

TEST(Usage, RefusesOutputsThatCannotBeWritten) {
  const TemporaryFolder folder;
  const std::string trace = (folder / "t.rtrace").string();
  write_trace(trace, {});
  expect_refused(std::string(kSimulate) + "--trace " + trace + " --timeline /nowhere/t.json", "--timeline");
  expect_refused(std::string(kSimulate) + "--trace " + trace + " --graph /nowhere/g.dot", "--graph");
  expect_refused("report --gpu h100-sxm --llm llama-3.1-8b --trace " + trace + " --out /nowhere/r.html", "--out");
  expect_refused("report --gpu h100-sxm --llm llama-3.1-8b --trace " + trace, "--out");
}

TEST(Listings, NameEveryBundledGpuAndModel) {
  const nlohmann::json gpus = run("gpus --json").json();
  EXPECT_EQ(gpus.at("schema"), "retrosim.gpus/1");
  std::vector<std::string> names;
  for (const auto& gpu : gpus.at("gpus")) names.push_back(gpu.at("name"));
  EXPECT_THAT(names, ::testing::IsSupersetOf({"h100-sxm", "a100-sxm", "rtx-4090"}));
  const nlohmann::json llms = run("llms --json").json();
  EXPECT_EQ(llms.at("schema"), "retrosim.llms/1");
  names.clear();
  for (const auto& llm : llms.at("llms")) names.push_back(llm.at("name"));
  EXPECT_THAT(names, ::testing::IsSupersetOf({"llama-3.1-8b", "smollm2-135m", "mixtral-8x7b"}));
  EXPECT_THAT(run("gpus").out, ::testing::HasSubstr("h100-sxm"));
  EXPECT_THAT(run("llms").out, ::testing::HasSubstr("llama-3.1-8b"));
}

// Includes between rooms go only down (tests/lint/rooms.py says which).
TEST(RoomOrder, IncludesGoOnlyDown) {
  if (std::system("python3 -c '' 2>/dev/null") != 0) GTEST_SKIP() << "python3 is not installed";
  EXPECT_EQ(std::system("python3 '" RETROSIM_SOURCE_DIR "/tests/lint/rooms.py' --order-only"), 0);
}

}  // namespace
}  // namespace retrosim::test
