// Identities of method.md through the GPU executor, in float32, on a small random model.
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "kernels/cuda_step/step_executor.h"
#include "kernels/host_decoder.h"
#include "model/error.h"
#include "tests/kernels/cuda_test_support.h"
#include "tests/kernels/random_model.h"
#include "tests/kernels/retro_oracle.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kPageSize = 8;
constexpr int kPrompt = 70;
constexpr int kTokens = 110;
constexpr int kVocab = 56;

LlmWeights small_model() {
  return random_model({.num_layers = 4, .head_dim = 64, .intermediate_size = 64, .vocab_size = kVocab}, 1);
}

DecodeConfig config_of(const LlmWeights& model, const char* policy, double budget, int window, int dense_layers) {
  DecodeConfig config;
  config.llm = model.llm;
  config.llm.weight_dtype = DType::f32;
  config.policy = make_policy(policy, {.budget = budget});
  config.window = window;
  config.context = kTokens;
  config.page_size = kPageSize;
  config.dense_layers = dense_layers;
  config.kv_dtype = DType::f32;
  return config;
}

// A GPU decoder of one sequence that is told its tokens, after a prefill on the host.
class GpuDecoder {
 public:
  GpuDecoder(const LlmWeights& model, const DecodeConfig& config, const std::vector<std::int32_t>& tokens)
      : config_(config),
        graph_(build_decode_step(config, demand_without_unseen(config))),
        weights_(config.llm, DType::f32, config.window, 1),
        state_(config, kTokens, 7),
        executor_(config, graph_, weights_, state_) {
    weights_.upload(model);
    HostDecoder prefilled(model, config_of(model, "full", 1.0, 1, 0), {.max_tokens = kTokens});
    prefilled.prefill(std::span(tokens).first(kPrompt));
    const std::vector<std::int32_t> physical = state_.physical.download();
    const KvShape& from_shape = prefilled.kv_shape();
    for (int layer = 0; layer < config.llm.num_layers; ++layer) {
      std::vector<float> cache(static_cast<std::size_t>(state_.kv_shape.kv_size()), NAN);
      const std::vector<float>& from = prefilled.kv_cache(layer);
      for (int position = 0; position < kPrompt; ++position) {  // one sequence: the host's pages are logical ones
        const int page = position / kPageSize;
        for (int head = 0; head < config.llm.num_kv_heads; ++head) {
          const int slot = position % kPageSize;
          const auto size = static_cast<std::size_t>(config.llm.head_dim) * sizeof(float);
          std::memcpy(&cache[state_.kv_shape.key_offset(physical[page], head, slot)],
                      &from[from_shape.key_offset(page, head, slot)], size);
          std::memcpy(&cache[state_.kv_shape.value_offset(physical[page], head, slot)],
                      &from[from_shape.value_offset(page, head, slot)], size);
        }
      }
      auto& to = state_.layers[static_cast<std::size_t>(layer)].kv;
      RETROSIM_CUDA_CHECK(cudaMemcpy(to.data(), cache.data(), to.size(), cudaMemcpyHostToDevice));
    }
    state_.set_position(kPrompt, 1);
    state_.rebuild_summaries(nullptr);
    RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
    state_.set_sequences(std::vector<std::int32_t>{kPrompt + 1}, std::vector<std::int32_t>{tokens[kPrompt]});
  }

  std::vector<float> step(std::int32_t token, bool as_graph = true) {
    std::vector<std::int32_t> rows = state_.tokens.download();
    rows[0] = token;
    state_.tokens.upload(rows);
    if (as_graph) {
      executor_.replay(nullptr);
    } else {
      executor_.enqueue(nullptr);
    }
    return executor_.logits(nullptr);
  }
  std::vector<std::vector<float>> decode(const std::vector<std::int32_t>& tokens, bool as_graph = true) {
    std::vector<std::vector<float>> logits;
    for (int t = kPrompt; t < kTokens; ++t) logits.push_back(step(tokens[static_cast<std::size_t>(t)], as_graph));
    return logits;
  }

  DecodeState& state() { return state_; }
  StepExecutor& executor() { return executor_; }
  const StepGraph& graph() const { return graph_; }

 private:
  DecodeConfig config_;
  StepGraph graph_;
  DecodeWeights weights_;
  DecodeState state_;
  StepExecutor executor_;
};

template <typename Expected>
void expect_same_logits(const std::vector<float>& actual, const Expected& expected, const std::string& what) {
  double scale = 0;
  for (const auto value : expected) scale = std::max(scale, std::abs(static_cast<double>(value)));
  const std::vector<float> wanted(expected.begin(), expected.end());
  expect_close(actual, wanted, 1e-4 * scale, 0, what);
}

class GpuWindows : public ::testing::TestWithParam<std::tuple<int, int>> {  // window, dense layers
 protected:
  int window = std::get<0>(GetParam());
  int dense_layers = std::get<1>(GetParam());
  LlmWeights model = small_model();
  std::vector<std::int32_t> tokens = random_tokens(kTokens, kVocab, 2);
};
INSTANTIATE_TEST_SUITE_P(WindowAndDenseLayers, GpuWindows,
                         ::testing::Combine(::testing::Values(1, 2, 3, 8, 16), ::testing::Values(0, 1, 2)));

TEST_P(GpuWindows, I1FullBudgetEqualsDenseDecoding) {
  RETROSIM_NEED_GPU();
  HostDecoder dense(model, config_of(model, "full", 1.0, 1, 0), {.max_tokens = kTokens});
  dense.prefill(std::span(tokens).first(kPrompt));
  GpuDecoder retro(model, config_of(model, "quest", 1.0, window, dense_layers), tokens);
  for (int t = kPrompt; t < kTokens; ++t) {
    const std::span<const std::int32_t> token(&tokens[static_cast<std::size_t>(t)], 1);
    expect_same_logits(retro.step(token[0]), dense.step(token), "position " + std::to_string(t));
  }
}

TEST_P(GpuWindows, I7EqualsAnOracleThatKeepsExplicitSets) {
  RETROSIM_NEED_GPU();
  const DecodeConfig config = config_of(model, "quest", 0.3, window, dense_layers);
  RetroOracle oracle(
      model, {.page_size = kPageSize,
              .dense_layers = dense_layers,
              .window = window,
              .reduction = GroupReduction::max,
              .pages_selected = [&](std::int64_t pages) { return config.policy->pages_selected(pages, kPageSize); }});
  oracle.prefill({tokens.begin(), tokens.begin() + kPrompt});
  GpuDecoder retro(model, config, tokens);
  for (int t = kPrompt; t < kTokens; ++t) {
    const std::int32_t token = tokens[static_cast<std::size_t>(t)];
    expect_same_logits(retro.step(token), oracle.step(token), "position " + std::to_string(t));
    for (int layer = dense_layers; layer < 4; ++layer) {
      const auto selected = retro.executor().selected(layer);
      for (int head = 0; head < 2; ++head) {
        const auto& pages = selected[0][static_cast<std::size_t>(head)];
        EXPECT_EQ(std::set<int>(pages.begin(), pages.end()), oracle.pages(layer, head, t)) << "position " << t;
      }
    }
  }
}

TEST_P(GpuWindows, I4EveryPageIsLoadedOnceAndStampedAndI6AsManyAsAtWindowOne) {
  RETROSIM_NEED_GPU();
  GpuDecoder retro(model, config_of(model, "quest", 0.3, window, dense_layers), tokens);
  GpuDecoder quest(model, config_of(model, "quest", 0.3, 1, dense_layers), tokens);
  EXPECT_EQ(total_traffic(retro.graph()).kv_read, total_traffic(quest.graph()).kv_read);
  const auto max_pages = static_cast<std::size_t>(retro.state().max_pages);
  std::vector<std::vector<std::int32_t>> stamps(4,
                                                std::vector<std::int32_t>(2 * max_pages, -1));  // [layer][head, page]
  for (int t = kPrompt; t < kTokens; ++t) {
    const std::int32_t token = tokens[static_cast<std::size_t>(t)];
    retro.step(token);
    quest.step(token);
    for (int layer = dense_layers; layer < 4; ++layer) {
      const auto selected = retro.executor().selected(layer)[0];
      const auto selected_by_quest = quest.executor().selected(layer)[0];
      for (std::size_t head = 0; head < 2; ++head) {
        EXPECT_EQ(std::set<int>(selected[head].begin(), selected[head].end()).size(), selected[head].size());
        EXPECT_EQ(selected[head].size(), selected_by_quest[head].size());
        for (const std::int32_t page : selected[head]) {
          stamps[static_cast<std::size_t>(layer)][head * max_pages + static_cast<std::size_t>(page)] = t;
        }
      }
      const auto& of_layer = retro.state().layers[static_cast<std::size_t>(layer)];
      if (window > 1) {
        EXPECT_EQ(of_layer.last_loaded.download(), stamps[static_cast<std::size_t>(layer)]) << "position " << t;
      }
    }
  }
}

TEST_P(GpuWindows, I2TheFirstStepIsQuestsAndWindowOneIsQuestBitForBit) {
  RETROSIM_NEED_GPU();
  GpuDecoder quest(model, config_of(model, "quest", 0.3, 1, dense_layers), tokens);
  GpuDecoder retro(model, config_of(model, "quest", 0.3, window, dense_layers), tokens);
  const int steps = window == 1 ? kTokens - kPrompt : 1;
  for (int i = 0; i < steps; ++i) {
    const std::int32_t token = tokens[static_cast<std::size_t>(kPrompt + i)];
    EXPECT_EQ(quest.step(token), retro.step(token));
  }
}

TEST_P(GpuWindows, AReplayedGraphEqualsSingleLaunches) {
  RETROSIM_NEED_GPU();
  const DecodeConfig config = config_of(model, "quest", 0.3, window, dense_layers);
  GpuDecoder graph(model, config, tokens);
  GpuDecoder launches(model, config, tokens);
  EXPECT_EQ(graph.decode(tokens), launches.decode(tokens, false));
  EXPECT_EQ(graph.executor().num_kernels(), graph.graph().size()) << "one kernel per operation";
}

TEST_P(GpuWindows, I5OutputCacheBytesDoNotDependOnTheContext) {
  RETROSIM_NEED_GPU();
  DecodeConfig config = config_of(model, "quest", 0.3, window, dense_layers);
  const DecodeState small(config, kTokens, 1);
  const DecodeState large(config, 10 * kTokens, 1);
  for (std::size_t layer = 0; layer < 4; ++layer) {
    // (w - 1) rows of 4 heads of 64 values in float32, and none in dense layers.
    const bool revised = static_cast<int>(layer) >= dense_layers && window > 1;
    EXPECT_EQ(small.layers[layer].cache_values.size(),
              revised ? static_cast<std::size_t>(window - 1) * 4 * 64 * 4 : 0U);
    EXPECT_EQ(large.layers[layer].cache_values.size(), small.layers[layer].cache_values.size());
    EXPECT_EQ(large.layers[layer].cache_lse.size(), small.layers[layer].cache_lse.size());
  }
}

// What `decoder` selects step by step, as a schedule.
SelectionSchedule record_selections(GpuDecoder& decoder, const std::vector<std::int32_t>& tokens, int dense_layers) {
  SelectionSchedule schedule{.first_context = kPrompt + 1,
                             .num_steps = kTokens - kPrompt,
                             .batch = 1,
                             .num_kv_heads = 2,
                             .k_max = decoder.state().k_max};
  schedule.layers.resize(4);
  for (int t = kPrompt; t < kTokens; ++t) {
    decoder.step(tokens[static_cast<std::size_t>(t)]);
    for (int layer = dense_layers; layer < 4; ++layer) {
      auto& into = schedule.layers[static_cast<std::size_t>(layer)];
      const auto selected = decoder.executor().selected(layer);
      for (const auto& pages : selected[0]) {
        into.counts.push_back(static_cast<std::int32_t>(pages.size()));
        into.pages.insert(into.pages.end(), pages.begin(), pages.end());
        into.pages.resize(into.counts.size() * static_cast<std::size_t>(schedule.k_max), -1);
      }
    }
  }
  return schedule;
}

TEST_P(GpuWindows, AScheduleOfItsOwnSelectionsChangesNothing) {
  RETROSIM_NEED_GPU();
  const DecodeConfig config = config_of(model, "quest", 0.3, window, dense_layers);
  GpuDecoder first(model, config, tokens);
  const SelectionSchedule schedule = record_selections(first, tokens, dense_layers);
  GpuDecoder free(model, config, tokens);
  GpuDecoder scheduled(model, config, tokens);
  scheduled.executor().follow(schedule);
  EXPECT_EQ(scheduled.decode(tokens), free.decode(tokens));
  EXPECT_EQ(scheduled.executor().num_kernels(), free.executor().num_kernels());
}

TEST_P(GpuWindows, AScheduleDecidesWhatIsSelected) {
  RETROSIM_NEED_GPU();
  const DecodeConfig config = config_of(model, "quest", 0.3, window, dense_layers);
  GpuDecoder other(model, config, random_tokens(kTokens, kVocab, 77));
  const SelectionSchedule schedule = record_selections(other, random_tokens(kTokens, kVocab, 77), dense_layers);
  GpuDecoder decoder(model, config, tokens);
  decoder.executor().follow(schedule);
  for (int t = kPrompt; t < kTokens; ++t) {
    decoder.step(tokens[static_cast<std::size_t>(t)]);
    for (int layer = dense_layers; layer < 4; ++layer) {
      const auto& wanted = schedule.layers[static_cast<std::size_t>(layer)];
      for (std::size_t head = 0; head < 2; ++head) {
        const std::size_t row = static_cast<std::size_t>(t - kPrompt) * 2 + head;
        const auto from = wanted.pages.begin() + static_cast<std::ptrdiff_t>(row) * schedule.k_max;
        EXPECT_EQ(decoder.executor().selected(layer)[0][head],
                  std::vector<std::int32_t>(from, from + wanted.counts[row]))
            << "position " << t;
      }
    }
  }
}

TEST(GpuExecutor, RefusesSchedulesOfOtherShapesOrPages) {
  RETROSIM_NEED_GPU();
  const LlmWeights model = small_model();
  const std::vector<std::int32_t> tokens = random_tokens(kTokens, kVocab, 2);
  const DecodeConfig config = config_of(model, "quest", 0.3, 2, 2);
  GpuDecoder first(model, config, tokens);
  const SelectionSchedule good = record_selections(first, tokens, 2);
  GpuDecoder decoder(model, config, tokens);
  SelectionSchedule bad = good;
  bad.batch = 2;
  EXPECT_THROW(decoder.executor().follow(bad), InputError);
  bad = good;
  bad.layers[2].pages[0] = bad.layers[2].pages[1];
  EXPECT_THROW(decoder.executor().follow(bad), InputError);
  bad = good;
  bad.first_context += 8;  // another page is being filled then
  EXPECT_THROW(decoder.executor().follow(bad), InputError);
  bad = good;
  bad.layers[0] = bad.layers[2];  // a dense layer selects nothing
  EXPECT_THROW(decoder.executor().follow(bad), InputError);
  decoder.executor().follow(good);
  decoder.step(tokens[kPrompt]);
  EXPECT_THROW(decoder.executor().follow(good), std::logic_error) << "captured already";
}

TEST(GpuExecutor, RefusesWhatDoesNotRunOnTheGpu) {
  RETROSIM_NEED_GPU();
  const LlmWeights model = small_model();
  DecodeConfig config = config_of(model, "tova", 0.3, 1, 0);
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  DecodeWeights weights(config.llm, DType::f32, 1, 1);
  DecodeState state(config, kTokens, 1);
  EXPECT_THROW(StepExecutor(config, graph, weights, state), InputError);
}

}  // namespace
}  // namespace retrosim::kernels::cuda
