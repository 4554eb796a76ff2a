#include "traces/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>

#include "kernels/forward/dense_forward.h"
#include "model/error.h"
#include "tests/kernels/random_model.h"
#include "traces/mass_scale.h"
#include "traces/trace_reader.h"

namespace retrosim {
namespace {

using ::testing::HasSubstr;

class RecordTrace : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder);
    kernels::write_checkpoint(model, folder / "model");
    write_tokens(nlohmann::json{{"tokens", tokens}, {"source", "random tokens"}});
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  void write_tokens(const nlohmann::json& json) const { std::ofstream(folder / "tokens.json") << json.dump(); }
  RecordResult record(const RecordOptions& options) const {
    return record_trace(folder / "model", folder / "tokens.json", options, folder / "out.rtrace");
  }
  std::string refusal(const RecordOptions& options) const {
    try {
      record(options);
    } catch (const InputError& error) {
      EXPECT_FALSE(std::filesystem::exists(folder / "out.rtrace"));
      EXPECT_FALSE(std::filesystem::exists(folder / "out.rtrace.partial"));
      return error.what();
    }
    return "accepted";
  }

  std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) /
      (std::string("retrosim_record_") + testing::UnitTest::GetInstance()->current_test_info()->name());
  LlmWeights model = kernels::random_model({.num_layers = 3}, 21);
  std::vector<std::int32_t> tokens = kernels::random_tokens(75, 50, 22);
};

// Queries, keys and attention of every (layer, KV head, position), one position at a time.
class Everything final : public kernels::ForwardObserver {
 public:
  bool watches(int /*layer*/) const override { return true; }
  void keys_ready(int layer, std::int64_t /*first*/, std::int64_t /*count*/, const float* keys,
                  std::int64_t head_stride) override {
    keys_of[layer] = keys;
    stride = head_stride;
  }
  void attention(const kernels::AttentionBlock& block) override {
    for (std::int64_t row = 0; row < block.rows; ++row) {
      Query& query = queries[{block.layer, block.kv_head, block.first_position + row}];
      for (std::int64_t head = 0; head < block.group; ++head) {
        const std::int64_t i = head * block.rows + row;
        query.q.emplace_back(block.q + i * 8, block.q + (i + 1) * 8);
      }
    }
  }
  struct Query {
    std::vector<std::vector<float>> q;  // [group][head_dim]
  };
  std::map<std::tuple<int, int, std::int64_t>, Query> queries;
  std::map<int, const float*> keys_of;
  std::int64_t stride = 0;
};

// Recomputes ranks and mass from the definitions, in double.
void expect_definition(const Everything& all, int layer, int head, const HeadRanking& recorded, int page_size) {
  const std::int64_t position = recorded.position;
  const auto& queries = all.queries.at({layer, head, position}).q;
  const float* keys = all.keys_of.at(layer) + head * all.stride;
  const std::int64_t pages = position / page_size + 1;
  std::vector<double> score(pages, -INFINITY), mass(pages, 0.0);
  for (const std::vector<float>& q : queries) {
    std::vector<double> weight(position + 1);
    double sum = 0;
    for (std::int64_t p = 0; p <= position; ++p) {
      weight[p] = std::exp(std::inner_product(q.begin(), q.end(), keys + p * 8, 0.0) / std::sqrt(8.0));
      sum += weight[p];
    }
    for (std::int64_t p = 0; p <= position; ++p)
      mass[p / page_size] += weight[p] / sum / static_cast<double>(queries.size());
    for (std::int64_t page = 0; page < pages; ++page) {
      double bound = 0;
      for (int i = 0; i < 8; ++i) {
        float low = INFINITY, high = -INFINITY;
        for (std::int64_t p = page * page_size; p <= std::min(position, (page + 1) * page_size - 1); ++p) {
          low = std::min(low, keys[p * 8 + i]);
          high = std::max(high, keys[p * 8 + i]);
        }
        bound += std::max(q[i] * low, q[i] * high);
      }
      score[page] = std::max(score[page], bound);
    }
  }
  double listed = 0;
  for (std::size_t i = 0; i < recorded.pages.size(); ++i) {
    const PageId page = recorded.pages[i];
    // Stored masses are the nearest on MassScale; a float's rounding may fall on the other side of a level's edge.
    EXPECT_NEAR(MassScale().code_of(recorded.mass[i]), MassScale().code_of(static_cast<float>(mass[page])), 1);
    listed += mass[page];
    if (i > 0) {
      EXPECT_LE(score[page], score[recorded.pages[i - 1]] + 1e-5);
    }
  }
  EXPECT_NEAR(recorded.rest, 1 - listed, 1e-5);
  const double worst = score[recorded.pages.back()];
  const auto better = std::count_if(score.begin(), score.end(), [&](double s) { return s > worst + 1e-5; });
  EXPECT_LT(better, static_cast<std::ptrdiff_t>(recorded.pages.size()));
}

TEST_F(RecordTrace, HoldsScoresAndMassByDefinition) {
  record({.first_position = 37, .page_size = 4, .chunk_tokens = 9, .num_threads = 2, .tool_version = "test"});
  const TraceReader reader(folder / "out.rtrace");
  EXPECT_EQ(reader.header().first_position, 37);
  EXPECT_EQ(reader.header().recorded_layers, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(reader.header().workload, "random tokens");
  ASSERT_EQ(reader.num_steps(), 75 - 37);
  EXPECT_FALSE(reader.truncated());
  kernels::DenseForward forward(model, 75, 1);
  Everything all;
  forward.run(tokens, &all);
  LayerColumns columns;
  for (std::int64_t chunk = 0; chunk < reader.num_chunks(); ++chunk) {
    for (int layer = 0; layer < 3; ++layer) {
      reader.read_layer(chunk, layer, columns);
      for (std::int64_t step = 0; step < columns.num_steps(); ++step) {
        for (int head = 0; head < 2; ++head) {
          const HeadRanking ranking = columns.at(step, head);
          ASSERT_EQ(static_cast<std::int64_t>(ranking.pages.size()), ranking.position / 4 + 1);
          expect_definition(all, layer, head, ranking, 4);
        }
      }
    }
  }
}

TEST_F(RecordTrace, KeepsTheBestTopMPagesOfSomeLayers) {
  const RecordResult result =
      record({.first_position = 20, .steps = 30, .layers = {0, 2}, .page_size = 4, .top_m = 3, .chunk_tokens = 64});
  EXPECT_EQ(result.steps, 30);
  const TraceReader reader(folder / "out.rtrace");
  ASSERT_EQ(reader.num_steps(), 30);
  kernels::DenseForward forward(model, 75, 1);
  Everything all;
  forward.run(tokens, &all);
  LayerColumns columns;
  reader.read_layer(0, 1, columns);
  for (std::int64_t step = 0; step < columns.num_steps(); ++step) {
    ASSERT_EQ(columns.at(step, 1).pages.size(), 3);
    expect_definition(all, 2, 1, columns.at(step, 1), 4);
  }
}

TEST_F(RecordTrace, DoesNotDependOnChunksOrThreads) {
  const auto bytes = [&](const RecordOptions& options) {
    record(options);
    std::ifstream stream(folder / "out.rtrace", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  // One row per product or many may round differently; the same chunks on other threads may not.
  EXPECT_EQ(bytes({.first_position = 10, .page_size = 4, .chunk_tokens = 16, .num_threads = 1}),
            bytes({.first_position = 10, .page_size = 4, .chunk_tokens = 16, .num_threads = 3}));
}

TEST_F(RecordTrace, ReportsProgressUntilNothingIsLeft) {
  std::vector<RecordProgress> reports;
  record(
      {.first_position = 32, .chunk_tokens = 32, .progress = [&](const RecordProgress& p) { reports.push_back(p); }});
  ASSERT_EQ(reports.size(), 3);  // 32 prompt tokens, then 32 and 11 steps
  EXPECT_EQ(reports[0].steps_recorded, 0);
  EXPECT_GT(reports[0].eta_s, 0);
  EXPECT_EQ(reports[2].tokens_done, 75);
  EXPECT_EQ(reports[2].steps_recorded, 43);
  EXPECT_EQ(reports[2].eta_s, 0);
}

TEST_F(RecordTrace, RefusesWhatItCannotRecordAndLeavesNoFile) {
  EXPECT_THAT(refusal({.first_position = 75}), HasSubstr("first position: got 75, expected 0 to 74"));
  EXPECT_THAT(refusal({.first_position = 70, .steps = 6}), HasSubstr("steps: got 6"));
  EXPECT_THAT(refusal({.layers = {1, 3}}), HasSubstr("layers: got 3"));
  EXPECT_THAT(refusal({.layers = {1, 1}}), HasSubstr("layers: got 1"));
  EXPECT_THAT(refusal({.page_size = 0}), HasSubstr("page_size: got 0"));
  tokens[60] = 50;
  write_tokens(nlohmann::json{{"tokens", tokens}});
  EXPECT_THAT(refusal({.first_position = 5, .chunk_tokens = 8}), HasSubstr("tokens[60]: got 50"));
  write_tokens(nlohmann::json{{"tokens", {"a"}}});
  EXPECT_THAT(refusal({}), HasSubstr("tokens"));
  std::filesystem::remove(folder / "model" / "model.safetensors");
  write_tokens(nlohmann::json{{"tokens", {1, 2}}});
  EXPECT_THAT(refusal({}), HasSubstr("model.safetensors"));
}

}  // namespace
}  // namespace retrosim
