// The Python reader and writer against the C++ ones: C++ writes, Python reads and writes again, C++ reads both.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/traces/synthetic_trace.h"
#include "traces/trace_reader.h"

namespace retrosim {
namespace {

// The distribution's interpreter has the packages even where another python3 comes first on the path.
std::string python() {
  for (const std::string candidate : {"python3", "/usr/bin/python3"}) {
    if (std::system((candidate + " -c 'import numpy, zstandard, xxhash' 2>/dev/null").c_str()) == 0) return candidate;
  }
  return "";
}

class PythonCopy : public testing::TestWithParam<std::int64_t> {};

TEST_P(PythonCopy, HoldsTheSameSteps) {
  const std::string interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no python3 with numpy, zstandard and xxhash";
  const std::string stem =
      (std::filesystem::path(testing::TempDir()) / ("retrosim_python_" + std::to_string(::getpid()))).string();
  const std::string file = stem + ".rtrace";
  const std::string copy = stem + "_copy.rtrace";
  TraceHeader header = synthetic_header(4080, 40);  // 255, 256, 257 pages: codes of one byte, then two
  header.top_m = GetParam();
  SyntheticRankings rankings(header, 0.3, 17);
  {
    TraceWriter writer(file, header, {.steps_per_chunk = 12});
    for (int i = 0; i < 40; ++i) writer.add_step(rankings.next().record());
    writer.close();
  }
  const std::string command =
      interpreter + " " RETROSIM_SOURCE_DIR "/tests/traces/copy_trace.py " + file + " " + copy + " 17";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;

  const TraceReader original(file);
  const TraceReader copied(copy);
  EXPECT_EQ(copied.header(), original.header());
  EXPECT_EQ(copied.num_chunks(), 3);
  EXPECT_FALSE(copied.truncated());
  ASSERT_EQ(copied.num_steps(), original.num_steps());
  LayerColumns a;
  LayerColumns b;
  for (int slot = 0; slot < 3; ++slot) {
    for (std::int64_t step = 0; step < original.num_steps(); ++step) {
      const std::int64_t in_a = original.chunk_of_step(step);
      const std::int64_t in_b = copied.chunk_of_step(step);
      original.read_layer(in_a, slot, a);
      copied.read_layer(in_b, slot, b);
      for (int head = 0; head < header.num_kv_heads; ++head) {
        const HeadRanking x = a.at(step - original.chunk(in_a).first_step, head);
        const HeadRanking y = b.at(step - copied.chunk(in_b).first_step, head);
        ASSERT_TRUE(std::ranges::equal(x.pages, y.pages));
        ASSERT_TRUE(std::ranges::equal(x.mass, y.mass));
        ASSERT_EQ(x.rest, y.rest);
      }
    }
  }
  std::filesystem::remove(file);
  std::filesystem::remove(copy);
}

INSTANTIATE_TEST_SUITE_P(AllPagesAndTheBest, PythonCopy, testing::Values(0, 20));

}  // namespace
}  // namespace retrosim
