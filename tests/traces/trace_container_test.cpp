// The .rtrace container: what was written is read, a cut-off file to its last whole chunk, a damaged one not at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "model/error.h"
#include "tests/traces/synthetic_trace.h"
#include "traces/trace_reader.h"
#include "traces/trace_writer.h"

namespace retrosim {
namespace {

using ::testing::HasSubstr;

std::filesystem::path temporary(const std::string& name) {
  return std::filesystem::path(testing::TempDir()) / ("retrosim_" + std::to_string(::getpid()) + "_" + name);
}

std::vector<std::uint8_t> bytes_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<SyntheticStep> steps_of(const TraceHeader& header, std::int64_t count, double drift = 0.3) {
  SyntheticRankings rankings(header, drift, 7);
  std::vector<SyntheticStep> steps;
  for (std::int64_t i = 0; i < count; ++i) steps.push_back(rankings.next());
  return steps;
}

std::vector<std::uint8_t> trace_bytes(const TraceHeader& header, const std::vector<SyntheticStep>& steps,
                                      std::int64_t steps_per_chunk) {
  const auto file = temporary("bytes.rtrace");
  TraceWriter writer(file, header, {.steps_per_chunk = steps_per_chunk});
  for (const SyntheticStep& step : steps) writer.add_step(step.record());
  writer.close();
  auto bytes = bytes_of(file);
  std::filesystem::remove(file);
  return bytes;
}

void expect_steps(const TraceReader& reader, const std::vector<SyntheticStep>& steps, std::int64_t count) {
  const TraceHeader& header = reader.header();
  ASSERT_EQ(reader.num_steps(), count);
  LayerColumns columns;
  for (std::int64_t c = 0; c < reader.num_chunks(); ++c) {
    for (std::size_t slot = 0; slot < header.recorded_layers.size(); ++slot) {
      reader.read_layer(c, static_cast<int>(slot), columns);
      for (std::int64_t s = 0; s < columns.num_steps(); ++s) {
        const SyntheticStep& step = steps[static_cast<std::size_t>(columns.first_step() + s)];
        for (int head = 0; head < header.num_kv_heads; ++head) {
          const std::size_t i = slot * static_cast<std::size_t>(header.num_kv_heads) + static_cast<std::size_t>(head);
          const HeadRanking ranking = columns.at(s, head);
          EXPECT_EQ(ranking.position, step.position);
          EXPECT_EQ(ranking.num_pages, step.num_pages);
          ASSERT_TRUE(
              std::equal(ranking.pages.begin(), ranking.pages.end(), step.pages[i].begin(), step.pages[i].end()));
          EXPECT_EQ(ranking.rest, step.rest[i]);
          for (std::size_t r = 0; r < step.mass[i].size(); ++r) {
            // Half a level: 2^(1/32) above 1/64, 2^(1/8) above 1/512, 2^(1/4) above 1/4096 and 2^(1/2) below, read as
            // 1.02 = 2^0.029 times its middle (mass_scale.h).
            const float mass = step.mass[i][r];
            const double half_level = mass > 1.0F / 64     ? 1.0 / 32
                                      : mass > 1.0F / 512  ? 1.0 / 8
                                      : mass > 1.0F / 4096 ? 1.0 / 4
                                                           : 0.529;
            ASSERT_LE(std::abs(std::log2(ranking.mass[r] / mass)), half_level + 1e-4) << mass;
          }
        }
      }
    }
  }
}

struct Shape {
  std::int64_t first_position, steps, steps_per_chunk, top_m;
  double drift;
};

class Container : public testing::TestWithParam<Shape> {};

TEST_P(Container, ReadsWhatWasWritten) {
  const Shape shape = GetParam();
  TraceHeader header = synthetic_header(shape.first_position, shape.steps);
  header.top_m = shape.top_m;
  const auto steps = steps_of(header, shape.steps, shape.drift);
  const auto bytes = trace_bytes(header, steps, shape.steps_per_chunk);
  const TraceReader reader(bytes, "memory");
  EXPECT_EQ(reader.header(), header);
  EXPECT_FALSE(reader.truncated());
  EXPECT_EQ(reader.num_chunks(), (shape.steps + shape.steps_per_chunk - 1) / shape.steps_per_chunk);
  reader.verify();
  expect_steps(reader, steps, shape.steps);
}

INSTANTIATE_TEST_SUITE_P(Shapes, Container,
                         testing::Values(Shape{0, 40, 16, 0, 0.3},      // from the very first token
                                         Shape{500, 33, 8, 0, 0.0},     // the ranking never changes
                                         Shape{4090, 20, 7, 0, 1.0},    // 256 -> 257 pages: one byte, then two
                                         Shape{1000, 20, 64, 10, 0.5},  // the best ten only
                                         Shape{100, 30, 4, 8, 0.5},     // 7 pages, then more than are listed
                                         Shape{2000, 1, 64, 0, 0.5}));

TEST(ContainerFile, CutAtEveryByteReadsToTheLastWholeChunk) {
  const TraceHeader header = synthetic_header(300, 12);
  const auto steps = steps_of(header, 12);
  const auto bytes = trace_bytes(header, steps, 4);
  const TraceReader whole(bytes, "memory");
  ASSERT_EQ(whole.num_chunks(), 3);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::span<const std::uint8_t> cut(bytes.data(), size);
    if (size < whole.chunk(0).offset) {
      EXPECT_THROW(TraceReader(cut, "cut"), InputError) << size;
      continue;
    }
    const TraceReader reader(cut, "cut");
    EXPECT_TRUE(reader.truncated()) << size;
    // The 24 bytes of the end mark come after the last chunk.
    const std::int64_t chunks = size < whole.chunk(1).offset   ? 0
                                : size < whole.chunk(2).offset ? 1
                                : size < bytes.size() - 24     ? 2
                                                               : 3;
    EXPECT_EQ(reader.num_chunks(), chunks) << size;
    if (size % 97 == 0) expect_steps(reader, steps, chunks * 4);
  }
}

TEST(ContainerFile, EveryFlippedByteIsNoticed) {
  const TraceHeader header = synthetic_header(300, 6);
  auto bytes = trace_bytes(header, steps_of(header, 6), 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 0x20;
    EXPECT_THROW(TraceReader(bytes, "flipped").verify(), InputError) << "byte " << i;
    bytes[i] ^= 0x20;
  }
}

TEST(ContainerFile, ACorruptChunkIsNamedWithItsOffset) {
  const TraceHeader header = synthetic_header(300, 6);
  auto bytes = trace_bytes(header, steps_of(header, 6), 3);
  const TraceReader reader(bytes, "some.rtrace");
  const std::uint64_t offset = reader.chunk(1).blocks[2].offset;
  bytes[offset + 5] ^= 1;
  LayerColumns columns;
  reader.read_layer(1, 1, columns);  // the layer beside it is whole
  try {
    reader.read_layer(1, 2, columns);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("some.rtrace"));
    EXPECT_THAT(error.what(), HasSubstr("chunk 1 at byte " + std::to_string(offset)));
  }
}

TEST(ContainerFile, AnUnclosedWriterLeavesAReadablePartialFile) {
  const TraceHeader header = synthetic_header(300, 9);
  const auto steps = steps_of(header, 9);
  const auto file = temporary("killed.rtrace");
  const std::filesystem::path partial = file.string() + ".partial";
  {
    TraceWriter writer(file, header, {.steps_per_chunk = 4});
    for (const SyntheticStep& step : steps) writer.add_step(step.record());
    const TraceReader live(partial);  // as another process sees it while the recorder runs
    expect_steps(live, steps, 8);
    EXPECT_TRUE(live.truncated());
  }
  EXPECT_FALSE(std::filesystem::exists(file));
  expect_steps(TraceReader(partial), steps, 8);
  std::filesystem::remove(partial);
}

TEST(ContainerFile, AnAbortedOrEmptyWriterLeavesNothing) {
  const TraceHeader header = synthetic_header(300, 9);
  const auto steps = steps_of(header, 9);
  const auto file = temporary("aborted.rtrace");
  {
    TraceWriter writer(file, header, {.steps_per_chunk = 4});
    for (const SyntheticStep& step : steps) writer.add_step(step.record());
    writer.abort();
  }
  { const TraceWriter writer(file, header); }
  EXPECT_FALSE(std::filesystem::exists(file));
  EXPECT_FALSE(std::filesystem::exists(file.string() + ".partial"));
  EXPECT_THROW(TraceWriter("/nonexistent/folder/x.rtrace", header), InputError);
}

TEST(ContainerFile, TheWriterRefusesStepsThatContradictTheHeader) {
  const TraceHeader header = synthetic_header(300, 9);
  const auto file = temporary("refused.rtrace");
  TraceWriter writer(file, header);
  SyntheticStep step = steps_of(header, 1)[0];
  const SyntheticStep good = step;
  step.position += 1;
  EXPECT_THROW(writer.add_step(step.record()), std::invalid_argument);
  step = good;
  step.pages[1][0] = step.pages[1][1];
  EXPECT_THROW(writer.add_step(step.record()), std::invalid_argument);
  step = good;
  step.pages[1][0] = static_cast<PageId>(step.num_pages);
  EXPECT_THROW(writer.add_step(step.record()), std::invalid_argument);
  step = good;
  step.mass[0][3] = std::nanf("");
  EXPECT_THROW(writer.add_step(step.record()), std::invalid_argument);
  step = good;
  step.pages[0].pop_back();
  EXPECT_THROW(writer.add_step(step.record()), std::invalid_argument);
  writer.add_step(good.record());
  EXPECT_EQ(writer.num_steps(), 1);
}

TEST(ContainerFile, HeadersAreReadStrictly) {
  const TraceHeader header = synthetic_header(300, 9);
  EXPECT_EQ(parse_trace_header(to_json(header).dump(), "x"), header);
  auto broken = [&](const char* key, const nlohmann::ordered_json& value) {
    auto json = to_json(header);
    json[key] = value;
    EXPECT_THROW(parse_trace_header(json.dump(), "x"), InputError) << key;
  };
  broken("schema", "retrosim.rtrace/2");
  broken("colour", "red");
  broken("page_size_tokens", 0);
  broken("page_size_tokens", "16");
  broken("num_q_heads", 5);
  broken("recorded_layers", nlohmann::ordered_json::array());
  broken("recorded_layers", {0, 0, 1});
  broken("recorded_layers", {0, 4});
  broken("first_position", 309);
  broken("prompt_tokens", 1e30);
  broken("mass_scale", "linear");
  EXPECT_THROW(parse_trace_header("[]", "x"), InputError);
  EXPECT_THROW(parse_trace_header("{", "x"), InputError);
}

TEST(MassScale, CodesAreNearestOnTheLogarithmicScale) {
  const MassScale scale;
  EXPECT_EQ(scale.code_of(0.0F), 0);
  EXPECT_EQ(scale.code_of(1.0F), 255);
  EXPECT_EQ(scale.code_of(1.0005F), 255);
  EXPECT_EQ(scale.code_of(0.5F), 255 - 16);                                    // one octave of 16 levels
  EXPECT_EQ(scale.code_of(0.48F), 255 - 17);                                   // -16 log2(0.48) = 16.94
  EXPECT_EQ(scale.code_of(1.0F / 64), 255 - 96);                               // six of them
  EXPECT_EQ(scale.code_of(1.0F / 128), 255 - 100);                             // and one of 4
  EXPECT_EQ(scale.code_of(1.0F / 2048), 255 - 112);                            // three of 4, two of 2
  EXPECT_EQ(scale.code_of(1.0F / 65536), 255 - 118);                           // three of 4, three of 2, four of 1
  EXPECT_EQ(MassScale(kOlderMassScaleName).code_of(1.0F / 65536), 255 - 122);  // three of 4, seven of 2
  EXPECT_EQ(MassScale(kOlderMassScaleName).code_of(1e-38F), 0);  // 126 octaves down: beyond the older scale
  for (int code = 0; code < 256; ++code) {
    const auto byte = static_cast<std::uint8_t>(code);
    // Float32 has no normal number below 2^-126, where code 27 stands: nothing below it is ever written.
    if (code >= 27) {
      EXPECT_EQ(scale.code_of(scale.mass_of(byte)), code);
    }
    EXPECT_EQ(MassScale(kOlderMassScaleName).code_of(MassScale(kOlderMassScaleName).mass_of(byte)), code);
  }
}

}  // namespace
}  // namespace retrosim
