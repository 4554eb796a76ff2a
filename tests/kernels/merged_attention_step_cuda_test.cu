// A step whose attention merges its splits and rows itself, beside the same step with a merge kernel of its own.
#include "kernels/cuda_step/step_executor.h"
#include "tests/kernels/cuda_test_support.h"
#include "tests/kernels/random_model.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kSteps = 6;
constexpr std::int64_t kContext = 700;
constexpr int kLayers = 4;
constexpr int kDenseLayers = 2;  // of window 1

struct StepCase {
  const char* name;
  DType kv_dtype = DType::bf16;
  int window = 1;
  std::int64_t batch = 1;
  int num_kv_heads = 2;
  bool merges = true;  // not where a list's rows do not fit one block

  friend std::ostream& operator<<(std::ostream& out, const StepCase& c) { return out << c.name; }
};

struct Outcome {
  std::vector<float> logits;  // of every step
  std::size_t num_kernels = 0;
};

Outcome run(const StepCase& c, bool merges_in_attention) {
  DecodeConfig config;
  config.llm = random_model({.num_layers = kLayers,
                             .num_q_heads = 8,
                             .num_kv_heads = c.num_kv_heads,
                             .head_dim = 64,
                             .intermediate_size = 512,
                             .vocab_size = 256},
                            1)
                   .llm;
  config.llm.qkv_bias = false;
  config.policy = make_policy("quest", {.budget = 0.3});
  config.window = c.window;
  config.batch = c.batch;
  config.context = kContext;
  config.kv_dtype = c.kv_dtype;
  config.sm_count = device_attribute(cudaDevAttrMultiProcessorCount);
  config.merges_in_attention = merges_in_attention;
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  cudaStream_t stream = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  DecodeWeights weights(config.llm, DType::bf16, config.batch * config.window, config.batch);
  weights.fill_random(1, stream);
  DecodeState state(config, kContext + 2 * kSteps, 1);
  state.fill_random(3, stream);
  state.set_position(kContext - config.window, 1);
  Outcome outcome;
  {
    StepExecutor executor(config, graph, weights, state);
    executor.capture();
    outcome.num_kernels = executor.num_kernels();
    for (int step = 0; step < config.window + kSteps; ++step) {
      executor.replay(stream);
      const std::vector<float> logits = executor.logits(stream);
      outcome.logits.insert(outcome.logits.end(), logits.begin(), logits.end());
    }
  }
  RETROSIM_CUDA_CHECK(cudaStreamDestroy(stream));
  return outcome;
}

class MergedAttentionStep : public ::testing::TestWithParam<StepCase> {};

// The two add up the same parts, in other orders: what they differ by is rounding, to bf16 after every layer.
TEST_P(MergedAttentionStep, EqualsTheStepWithAMergeKernel) {
  RETROSIM_NEED_GPU();
  const StepCase& c = GetParam();
  const Outcome merged = run(c, true);
  const Outcome separate = run(c, false);
  EXPECT_EQ(merged.num_kernels, separate.num_kernels - (c.merges ? kLayers : kDenseLayers));
  EXPECT_LE(relative_error(merged.logits, separate.logits), 0.03);
}

INSTANTIATE_TEST_SUITE_P(
    Steps, MergedAttentionStep,
    ::testing::Values(StepCase{.name = "quest"}, StepCase{.name = "w2", .window = 2},
                      StepCase{.name = "w8", .window = 8}, StepCase{.name = "w16_batch_3", .window = 16, .batch = 3},
                      StepCase{.name = "unsplit", .window = 2, .batch = 80},
                      StepCase{.name = "fp8_w4", .kv_dtype = DType::fp8_e4m3, .window = 4},
                      StepCase{.name = "rows_of_two_blocks", .window = 16, .num_kv_heads = 1, .merges = false}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace retrosim::kernels::cuda
