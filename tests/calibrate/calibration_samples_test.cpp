#include "calibrate/calibration_samples.h"

#include <gtest/gtest.h>

#include <fstream>

#include "model/error.h"
#include "model/step_graph.h"

namespace retrosim {
namespace {

TEST(CalibrationSamples, SurviveALine) {
  const AttentionShape shape{.batch = 3,
                             .num_q_heads = 32,
                             .num_kv_heads = 8,
                             .head_dim = 128,
                             .page_size = 16,
                             .window = 4,
                             .rows = 12,
                             .pages_loaded = 480,
                             .tokens_loaded = 7680,
                             .unseen_visits = 77,
                             .tracks_last_loaded = true,
                             .num_splits = 5,
                             .kv_dtype = DType::fp8_e4m3,
                             .merges = true,
                             .cached_rows = 9};
  const GraphSample sample{.case_index = 7,
                           .part = "chain",
                           .ops = {{.name = "attention", .shape = shape, .count = 40, .distinct = 8},
                                   {.name = "qkv_proj",
                                    .shape = MatmulShape{.m = 1, .n = 64, .k = 32},
                                    .count = 1,
                                    .distinct = 1,
                                    .path = "lt"}},
                           .samples_us = {3, 1, 2},
                           .figures = {{"bytes", 4096}}};
  const GraphSample again = parse_sample(to_json_line(sample), "line");
  EXPECT_EQ(to_json_line(again), to_json_line(sample));
  EXPECT_EQ(again.median_us(), 2);
  EXPECT_EQ(again.figure("bytes"), 4096);
  EXPECT_EQ(std::get<AttentionShape>(again.ops[0].shape).unseen_visits, 77);
  EXPECT_EQ(std::get<AttentionShape>(again.ops[0].shape).bytes_moved(), shape.bytes_moved());
}

TEST(CalibrationSamples, RefuseWhatTheyDoNotKnow) {
  const auto refuses = [](const std::string& line) { EXPECT_THROW(parse_sample(line, "line"), InputError) << line; };
  refuses("{}");
  refuses(R"({"case":0,"part":"chain","ops":[],"samples_us":[]})");
  refuses(R"({"case":0,"part":"chain","ops":[],"samples_us":[-1]})");
  refuses(R"({"case":0,"part":"chain","ops":[{"shape":{"kind":"warp"},"count":1,"distinct":1}],"samples_us":[1]})");
  refuses(
      R"({"case":0,"part":"chain","ops":[{"shape":{"kind":"matmul","q":1},"count":1,"distinct":1}],"samples_us":[1]})");
}

TEST(CalibrationSamples, ALineThatWasCutOffIsLeftOut) {
  const auto file = std::filesystem::path(::testing::TempDir()) / "samples.jsonl";
  const std::string line = R"({"case":0,"part":"d2h","ops":[],"samples_us":[1.5]})";
  std::ofstream(file) << line << '\n' << line.substr(0, 20);
  EXPECT_EQ(read_samples(file).size(), 1U);
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace retrosim
