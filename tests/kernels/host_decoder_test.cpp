#include "kernels/host_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "kernels/forward/dense_forward.h"
#include "kernels/forward/next_token.h"
#include "model/error.h"
#include "tests/kernels/random_model.h"
#include "tests/kernels/retro_oracle.h"

namespace retrosim::kernels {
namespace {

using ::testing::HasSubstr;
using Logits = std::vector<std::vector<float>>;

constexpr int kPrompt = 30;
constexpr int kTokens = 60;

DecodeConfig config_of(std::string_view policy, double budget, int window, int dense_layers) {
  DecodeConfig config;
  config.policy = make_policy(policy, {.budget = budget});
  config.window = window;
  config.page_size = 4;
  config.dense_layers = dense_layers;
  return config;
}

Logits decode(const LlmWeights& model, const DecodeConfig& config, const std::vector<std::int32_t>& tokens,
              const HostDecoderOptions& options = {.max_tokens = kTokens}) {
  HostDecoder decoder(model, config, options);
  Logits logits{decoder.prefill(std::span(tokens).first(kPrompt))};
  for (int t = kPrompt; t < kTokens; ++t) logits.push_back(decoder.step(std::span(tokens).subspan(t, 1)));
  return logits;
}

template <typename A, typename B>
void expect_close(const A& a, const B& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  double scale = 0;
  for (const auto& value : b) scale = std::max(scale, std::abs(static_cast<double>(value)));
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_FALSE(!(std::abs(static_cast<double>(a[i]) - b[i]) <= tolerance * scale)) << a[i] << " and " << b[i];
  }
}

class Models : public ::testing::TestWithParam<RandomModelSizes> {
 protected:
  LlmWeights model = random_model(GetParam(), 31);
  std::vector<std::int32_t> tokens = random_tokens(kTokens, 50, 32);
};
INSTANTIATE_TEST_SUITE_P(Shapes, Models,
                         ::testing::Values(RandomModelSizes{}, RandomModelSizes{.qkv_bias = true},
                                           RandomModelSizes{.qk_norm = true},
                                           RandomModelSizes{.num_q_heads = 3, .num_kv_heads = 1, .head_dim = 16},
                                           RandomModelSizes{.num_q_heads = 2, .num_kv_heads = 2}));

TEST_P(Models, DenseDecodingEqualsTheChunkedForwardPass) {
  const Logits logits = decode(model, config_of("full", 1, 1, 0), tokens);
  for (const std::int64_t chunk : {1, 7, 60}) {
    DenseForward forward(model, kTokens, 2);
    for (std::int64_t first = 0; first < kTokens; first += chunk) {
      const std::int64_t rows = std::min<std::int64_t>(chunk, kTokens - first);
      forward.run(std::span(tokens).subspan(first, rows));
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t position = first + row;
        if (position < kPrompt - 1) continue;
        expect_close(forward.logits(row, 1), logits[position - kPrompt + 1], 1e-4);
      }
    }
  }
}

TEST_P(Models, RetroDecodingEqualsTheOracle) {
  for (const GroupReduction reduction : {GroupReduction::max, GroupReduction::mean, GroupReduction::per_query_head}) {
    const DecodeConfig config = config_of("quest", 0.3, 5, 1);
    const Logits logits = decode(model, config, tokens, {.max_tokens = kTokens, .reduction = reduction});
    RetroOracle oracle(model,
                       {.page_size = 4,
                        .dense_layers = 1,
                        .window = 5,
                        .reduction = reduction,
                        .pages_selected = [&](std::int64_t pages) { return config.policy->pages_selected(pages, 4); }});
    oracle.prefill({tokens.begin(), tokens.begin() + kPrompt});
    for (int t = kPrompt; t < kTokens; ++t) expect_close(logits[t - kPrompt + 1], oracle.step(tokens[t]), 1e-4);
  }
}

TEST(HostDecoder, SequencesOfABatchDoNotTouchEachOther) {
  const LlmWeights model = random_model({}, 5);
  DecodeConfig config = config_of("quest", 0.3, 4, 1);
  const std::vector<std::int32_t> a = random_tokens(kTokens, 50, 6), b = random_tokens(kTokens, 50, 7);
  const Logits alone_a = decode(model, config, a), alone_b = decode(model, config, b);
  config.batch = 2;
  HostDecoder decoder(model, config, {.max_tokens = kTokens});
  std::vector<std::int32_t> prompt(a.begin(), a.begin() + kPrompt);
  prompt.insert(prompt.end(), b.begin(), b.begin() + kPrompt);
  decoder.prefill(prompt);
  for (int t = kPrompt; t < kTokens; ++t) {
    const std::vector<float> both = decoder.step(std::vector<std::int32_t>{a[t], b[t]});
    EXPECT_EQ(std::vector<float>(both.begin(), both.begin() + 50), alone_a[t - kPrompt + 1]);
    EXPECT_EQ(std::vector<float>(both.begin() + 50, both.end()), alone_b[t - kPrompt + 1]);
  }
}

TEST(HostDecoder, SkippingAndMaskingSeenPagesAgreeBitForBit) {
  const LlmWeights model = random_model({}, 5);
  const std::vector<std::int32_t> tokens = random_tokens(kTokens, 50, 8);
  DecodeConfig config = config_of("quest", 0.3, 6, 1);
  const Logits skipped = decode(model, config, tokens);
  config.mask_unseen_rows = true;
  EXPECT_EQ(decode(model, config, tokens), skipped);
}

TEST(HostDecoder, AttentionThatMergesDecodesAlike) {
  const LlmWeights model = random_model({}, 5);
  const std::vector<std::int32_t> tokens = random_tokens(kTokens, 50, 8);
  DecodeConfig config = config_of("quest", 0.3, 6, 1);
  const Logits apart = decode(model, config, tokens);
  config.merges_in_attention = true;
  EXPECT_EQ(decode(model, config, tokens), apart);
}

TEST(HostDecoder, CarryingOlderRowsThroughDenseLayersChangesNothing) {
  const LlmWeights model = random_model({}, 5);
  const std::vector<std::int32_t> tokens = random_tokens(kTokens, 50, 8);
  DecodeConfig config = config_of("quest", 0.3, 4, 2);
  const Logits entering = decode(model, config, tokens);
  config.carry_older_rows_through_dense_layers = true;
  EXPECT_EQ(decode(model, config, tokens), entering);
}

TEST(HostDecoder, WideningSummariesIsRecomputingThemWhileNoKeyIsOverwritten) {
  const LlmWeights model = random_model({}, 5);
  const std::vector<std::int32_t> tokens = random_tokens(kTokens, 50, 8);
  DecodeConfig config = config_of("quest", 0.3, 1, 1);
  const Logits recomputed = decode(model, config, tokens);
  config.widen_summaries = true;
  EXPECT_EQ(decode(model, config, tokens), recomputed);
}

TEST(HostDecoder, StreamingWithSinksAndAllRecentPagesIsFull) {
  const LlmWeights model = random_model({}, 5);
  const std::vector<std::int32_t> tokens = random_tokens(kTokens, 50, 8);
  const Logits full = decode(model, config_of("full", 1, 1, 0), tokens);
  EXPECT_EQ(decode(model, config_of("streaming", 1, 1, 0), tokens), full);
  EXPECT_NE(decode(model, config_of("streaming", 0.3, 1, 0), tokens), full);
}

TEST(HostDecoder, PrefillInPiecesIsPrefillAtOnce) {
  const LlmWeights model = random_model({}, 5);
  const std::vector<std::int32_t> tokens = random_tokens(kTokens, 50, 8);
  HostDecoder once(model, config_of("quest", 0.3, 3, 1), {.max_tokens = kTokens});
  HostDecoder pieces(model, config_of("quest", 0.3, 3, 1), {.max_tokens = kTokens});
  pieces.prefill(std::span(tokens).first(13));
  EXPECT_EQ(pieces.prefill(std::span(tokens).subspan(13, 17)), once.prefill(std::span(tokens).first(30)));
  for (int t = 30; t < 40; ++t) {
    EXPECT_EQ(pieces.step(std::span(tokens).subspan(t, 1)), once.step(std::span(tokens).subspan(t, 1)));
  }
}

TEST(HostDecoder, SlidingWindowLayersSeeOnlyTheirWindow) {
  LlmWeights model = random_model({.num_layers = 1}, 5);
  model.llm.layer_sliding_window = {6};
  const std::vector<std::int32_t> tokens = random_tokens(kTokens, 50, 8);
  std::vector<std::int32_t> other = tokens;
  for (int i = 0; i < kPrompt - 6; ++i) other[i] = 49 - other[i];  // before the window of the first decoded query
  const Logits a = decode(model, config_of("full", 1, 1, 0), tokens);
  const Logits b = decode(model, config_of("full", 1, 1, 0), other);
  EXPECT_EQ(a, b);
  DenseForward forward(model, kTokens, 1);
  forward.run(tokens);
  expect_close(forward.logits(kTokens - 1, 1), a.back(), 1e-4);
}

TEST(HostDecoder, SamplesTheLargestLogit) {
  const LlmWeights model = random_model({}, 5);
  const std::vector<std::int32_t> tokens = random_tokens(kTokens, 50, 8);
  HostDecoder decoder(model, config_of("full", 1, 1, 0), {.max_tokens = kTokens});
  const std::vector<float> logits = decoder.prefill(tokens);
  EXPECT_EQ(decoder.sampled()[0], std::max_element(logits.begin(), logits.end()) - logits.begin());
}

TEST(HostDecoder, RefusesWhatItCannotRun) {
  const LlmWeights model = random_model({}, 5);
  const auto refusal = [&](const DecodeConfig& config, std::vector<std::int32_t> tokens) -> std::string {
    try {
      HostDecoder(model, config, {.max_tokens = 4}).prefill(tokens);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  DecodeConfig config = config_of("full", 1, 1, 0);
  EXPECT_THAT(refusal(config, {1, 2, 50}), HasSubstr("token: got 50"));
  EXPECT_THAT(refusal(config, {1, 2, 3, 4, 5}), HasSubstr("tokens: got 5"));
  config.tensor_parallel_size = 2;
  EXPECT_THAT(refusal(config, {1}), HasSubstr("tensor_parallel_size: got 2"));
}

TEST(NextToken, GivesTheProbabilityOfTheTextAndItsPerplexity) {
  // Logits log 1, log 2, log 5: probabilities 1/8, 2/8, 5/8.
  const std::vector<float> logits{0.0F, std::log(2.0F), std::log(5.0F)};
  const NextToken prediction = predict(7, 1, logits);
  EXPECT_EQ(prediction.top1, 2);
  EXPECT_NEAR(prediction.next_log_prob, std::log(0.25), 1e-6);
  EXPECT_NEAR(prediction.top1_log_prob, std::log(0.625), 1e-6);
  // exp(-(log 1/4 + log 1/16) / 2) = sqrt(64) = 8
  const std::vector<NextToken> two{{.next_log_prob = std::log(0.25)}, {.next_log_prob = std::log(0.0625)}};
  EXPECT_NEAR(perplexity(two), 8, 1e-9);
}

TEST(NextToken, ReadsEveryPositionWhateverTheChunk) {
  const LlmWeights model = random_model({}, 5);
  const std::vector<std::int32_t> tokens = random_tokens(40, 50, 9);
  const std::vector<NextToken> all = next_token_log_probs(model, tokens, 0, 39, 39, 1);
  const std::vector<NextToken> some = next_token_log_probs(model, tokens, 11, 20, 8, 2);
  ASSERT_EQ(some.size(), 20U);
  for (std::size_t i = 0; i < some.size(); ++i) {
    EXPECT_EQ(some[i].position, static_cast<std::int64_t>(i) + 11);
    EXPECT_EQ(some[i].next_token, tokens[i + 12]);
    EXPECT_EQ(some[i].top1, all[i + 11].top1);
    EXPECT_NEAR(some[i].next_log_prob, all[i + 11].next_log_prob, 1e-4);
  }
  EXPECT_THROW(next_token_log_probs(model, tokens, 11, 29, 8, 2), InputError);
}

}  // namespace
}  // namespace retrosim::kernels
