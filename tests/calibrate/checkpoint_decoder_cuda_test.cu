// A prompt and a decode on the GPU, in float32 on a small random model, against the host decoder.
#include <gtest/gtest.h>

#include "calibrate/live/checkpoint_decoder.h"
#include "kernels/host_decoder.h"
#include "tests/kernels/cuda_test_support.h"
#include "tests/kernels/random_model.h"

namespace retrosim::gpu {
namespace {

using namespace retrosim::kernels;
using namespace retrosim::kernels::cuda;

constexpr int kPageSize = 8;
constexpr int kPrompt = 71;
constexpr int kTokens = 110;
constexpr int kVocab = 56;

class CheckpointDecode : public ::testing::Test {
 protected:
  void SetUp() override {
    RETROSIM_NEED_GPU();
    RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    prompt = std::make_unique<PromptRunner>(model, DType::f32, kTokens, kPageSize, 16, 1, stream);
    for (int at = 0; at < kPrompt; at += 16) {
      prompt->run(std::span(tokens).subspan(static_cast<std::size_t>(at), std::min(16, kPrompt - at)),
                  [](int, std::int64_t, std::int64_t) {});
    }
  }
  void TearDown() override {
    prompt.reset();
    if (stream != nullptr) cudaStreamDestroy(stream);
  }

  DecodeConfig config_of(const char* policy, double budget, int window) const {
    DecodeConfig config;
    config.llm = model.llm;
    config.llm.weight_dtype = DType::f32;
    config.policy = make_policy(policy, {.budget = budget});
    config.window = window;
    config.context = kTokens;
    config.page_size = kPageSize;
    config.dense_layers = 1;
    config.kv_dtype = DType::f32;
    return config;
  }

  LlmWeights model = random_model({.num_layers = 3, .head_dim = 64, .intermediate_size = 64, .vocab_size = kVocab}, 1);
  std::vector<std::int32_t> tokens = random_tokens(kTokens, kVocab, 2);
  cudaStream_t stream = nullptr;
  std::unique_ptr<PromptRunner> prompt;
};

void expect_same(const std::vector<float>& actual, const std::vector<float>& expected, const std::string& what) {
  double scale = 0;
  for (const float value : expected) scale = std::max(scale, std::abs(static_cast<double>(value)));
  expect_close(actual, expected, 1e-4 * scale, 0, what);
}

TEST_F(CheckpointDecode, APromptInChunksChoosesWhatTheHostChooses) {
  HostDecoder host(model, config_of("full", 1, 1), {.max_tokens = kTokens});
  host.prefill(std::span(tokens).first(kPrompt));
  EXPECT_EQ(prompt->chosen(), host.sampled().at(0));
}

TEST_F(CheckpointDecode, QuestWithAWindowGivesTheHostsLogits) {
  const DecodeConfig config = config_of("quest", 0.4, 3);
  HostDecoder host(model, config, {.max_tokens = kTokens});
  host.prefill(std::span(tokens).first(kPrompt));
  DecodeWeights weights(config.llm, DType::f32, config.window, 1);
  weights.upload(model);
  CheckpointDecoder decoder(weights, config, *prompt, 1, stream);
  for (int round = 0; round < 2; ++round) {  // a restart leaves nothing of the run before
    decoder.restart(tokens[kPrompt]);
    HostDecoder again(model, config, {.max_tokens = kTokens});
    again.prefill(std::span(tokens).first(kPrompt));
    for (int t = kPrompt; t < kTokens - 1; ++t) {
      decoder.give(tokens[static_cast<std::size_t>(t)]);
      decoder.executor().replay(stream);
      const std::span<const std::int32_t> token(&tokens[static_cast<std::size_t>(t)], 1);
      expect_same(decoder.executor().logits(stream), again.step(token), "position " + std::to_string(t));
    }
  }
}

TEST_F(CheckpointDecode, StreamingGivesTheHostsLogits) {
  const DecodeConfig config = config_of("streaming", 0.4, 1);
  HostDecoder host(model, config, {.max_tokens = kTokens});
  host.prefill(std::span(tokens).first(kPrompt));
  DecodeWeights weights(config.llm, DType::f32, 1, 1);
  weights.upload(model);
  CheckpointDecoder decoder(weights, config, *prompt, 1, stream);
  decoder.restart(tokens[kPrompt]);
  for (int t = kPrompt; t < kTokens - 1; ++t) {
    const std::int64_t pages = t / kPageSize + 1;
    std::vector<PageId> ranked(static_cast<std::size_t>(pages));
    for (std::size_t i = 0; i < ranked.size(); ++i) ranked[i] = static_cast<PageId>(i);
    std::vector<PageId> chosen;
    config.policy->select({.pages = ranked, .num_pages = pages}, kPageSize, chosen);
    std::vector<std::int32_t> list(chosen.begin(), chosen.end());
    std::sort(list.begin(), list.end());
    for (int layer = 1; layer < 3; ++layer) decoder.executor().select(layer, list);
    decoder.give(tokens[static_cast<std::size_t>(t)]);
    decoder.executor().replay(stream);
    const std::span<const std::int32_t> token(&tokens[static_cast<std::size_t>(t)], 1);
    expect_same(decoder.executor().logits(stream), host.step(token), "position " + std::to_string(t));
  }
}

TEST_F(CheckpointDecode, PagesThatAreNotResidentComeFromTheHost) {
  const DecodeConfig config = config_of("arkvale", 0.5, 1);
  DecodeWeights weights(config.llm, DType::f32, 1, 1);
  weights.upload(model);
  CheckpointDecoder kept(weights, config, *prompt, 1, stream);
  CheckpointDecoder poisoned(weights, config, *prompt, 1, stream);
  for (CheckpointDecoder* decoder : {&kept, &poisoned}) {
    decoder->restart(tokens[kPrompt]);
    decoder->executor().move_pages_to_host();
  }
  // Nothing is resident before the first step: what is not recalled must not be read.
  const std::vector<std::int32_t> physical = poisoned.state().physical.download();
  const std::int64_t page_bytes = poisoned.state().kv_shape.kv_size() / poisoned.state().kv_shape.num_pages * 4;
  for (int layer = 1; layer < 3; ++layer) {
    for (int page = 0; page < kPrompt / kPageSize; ++page) {
      RETROSIM_CUDA_CHECK(cudaMemset(poisoned.state().layers[static_cast<std::size_t>(layer)].kv.data() +
                                         physical[static_cast<std::size_t>(page)] * page_bytes,
                                     0xff, static_cast<std::size_t>(page_bytes)));
    }
  }
  for (int t = kPrompt; t < kPrompt + 4; ++t) {
    for (CheckpointDecoder* decoder : {&kept, &poisoned}) {
      decoder->give(tokens[static_cast<std::size_t>(t)]);
      decoder->executor().replay(stream);
    }
    EXPECT_EQ(poisoned.executor().logits(stream), kept.executor().logits(stream)) << "position " << t;
  }
}

}  // namespace
}  // namespace retrosim::gpu
