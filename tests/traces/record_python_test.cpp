// The PyTorch recorder against the C++ one: tiny random models, recorded by traces/python/retrosim_record.py and read
// here. Needs a Python with torch and transformers (RETROSIM_PYTHON names one) and is skipped without.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "traces/compare_rankings.h"
#include "traces/record.h"
#include "traces/trace_reader.h"

namespace retrosim {
namespace {

std::string python_with_torch() {
  const char* named = std::getenv("RETROSIM_PYTHON");
  for (const std::string& candidate : {std::string(named != nullptr ? named : ""), std::string("python3")}) {
    const std::string command = candidate + " -c 'import numpy, zstandard, xxhash, torch, transformers' 2>/dev/null";
    if (!candidate.empty() && std::system(command.c_str()) == 0) return candidate;
  }
  return "";
}

class RecordedByPython : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::string interpreter = python_with_torch();
    if (interpreter.empty()) return;
    folder_ = std::filesystem::path(testing::TempDir()) / ("retrosim_record_python_" + std::to_string(::getpid()));
    const std::string command =
        interpreter + " " RETROSIM_SOURCE_DIR "/tests/traces/record_tiny_models.py " + folder_.string();
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }
  static void TearDownTestSuite() {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }
  void SetUp() override {
    if (folder_.empty()) GTEST_SKIP() << "no python3 with torch and transformers; RETROSIM_PYTHON names one";
  }

  // Records `tokens` anew in C++ and expects the same rankings of all the Python trace's steps.
  static void expect_agreement(const std::string& tokens, const std::string& trace, std::int64_t steps) {
    const std::filesystem::path ours = folder_ / ("cpp_" + trace);
    record_trace(folder_ / "checkpoint", folder_ / tokens, {.first_position = 40, .page_size = 4, .num_threads = 1},
                 ours);
    const TraceReader a(folder_ / trace);
    const TraceReader b(ours);
    EXPECT_FALSE(a.truncated());
    EXPECT_EQ(a.num_steps(), steps);
    EXPECT_EQ(a.header().prompt_hash, b.header().prompt_hash);
    EXPECT_EQ(a.header().tokens_hash, b.header().tokens_hash);
    EXPECT_EQ(a.header().num_tokens, b.header().num_tokens);
    EXPECT_EQ(a.header().checkpoint_hash, b.header().checkpoint_hash);
    EXPECT_EQ(a.header().config_hash, b.header().config_hash);
    EXPECT_EQ(a.header().recorded_layers, b.header().recorded_layers);
    const RankingComparison c = compare_rankings(a, b, 0.15);
    EXPECT_EQ(c.steps, steps);
    // Scores that differ in the last bit may change places: neighbours in a list, seldom more.
    EXPECT_GT(c.same_ranks, 0.999);
    EXPECT_GT(c.top_k_overlap, 0.999);
    EXPECT_LT(c.mass_difference, 0.001);
  }

  static inline std::filesystem::path folder_;
};

TEST_F(RecordedByPython, TeacherForcedTextRanksAsInCpp) { expect_agreement("tokens.json", "forced.rtrace", 63); }

TEST_F(RecordedByPython, GeneratedTextRanksAsInCpp) {
  expect_agreement("generated.json", "generated.rtrace", 49);
  EXPECT_EQ(TraceReader(folder_ / "generated.rtrace").header().workload, "three lines");
}

// 40 steps in chunks of 16: broken off, the last 8 are lost, never a whole chunk.
TEST_F(RecordedByPython, BrokenOffRecordingIsReadToItsLastChunk) {
  EXPECT_FALSE(std::filesystem::exists(folder_ / "cut.rtrace"));
  const TraceReader cut(folder_ / "cut.rtrace.partial");
  EXPECT_TRUE(cut.truncated());
  EXPECT_EQ(cut.num_steps(), 32);
  EXPECT_EQ(cut.header().num_tokens, 72);
}

TEST_F(RecordedByPython, SlidingWindowLayersAreLeftOut) {
  const TraceReader gemma(folder_ / "gemma.rtrace");
  EXPECT_EQ(gemma.header().num_layers, 2);
  EXPECT_EQ(gemma.header().recorded_layers, std::vector<int>{1});
  gemma.verify();
}

}  // namespace
}  // namespace retrosim
