#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "kernels/embedding/embedding.h"
#include "kernels/matmul/matmul.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope_append/rope.h"
#include "kernels/rope_append/rope_append.h"
#include "kernels/sample/sample.h"
#include "kernels/silu_mul/silu_mul.h"

namespace retrosim::kernels {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::FloatNear;

TEST(Embedding, CopiesTheRowOfEachToken) {
  std::vector<float> out(4);
  host::embed(std::vector<std::int32_t>{2, 0}, std::vector<float>{1, 2, 3, 4, 5, 6}, out);
  EXPECT_THAT(out, ElementsAre(5, 6, 1, 2));
}

TEST(RmsNorm, DividesByTheRootMeanSquare) {
  // Row (3, 4): mean square 12.5, epsilon 0.5: divided by sqrt(13), times (2, 1).
  std::vector<float> out(4);
  host::rms_norm(std::vector<float>{3, 4, 0, 0}, std::vector<float>{2, 1}, 0.5, out);
  const float root = std::sqrt(13.0F);
  EXPECT_THAT(out, ElementsAre(FloatEq(6 / root), FloatEq(4 / root), 0, 0));
}

TEST(RmsNorm, AddsTheResidualFirst) {
  std::vector<float> residual{1, 1}, out(2);
  host::add_rms_norm(std::vector<float>{2, 3}, residual, std::vector<float>{2, 1}, 0.5, out);
  EXPECT_THAT(residual, ElementsAre(3, 4));
  EXPECT_THAT(out, ElementsAre(FloatEq(6 / std::sqrt(13.0F)), FloatEq(4 / std::sqrt(13.0F))));
}

TEST(Matmul, MultipliesByTheTransposedWeightAndAddsTheBias) {
  // W = (1 2 3 4 5; 0 1 0 1 0), x = (1 1 1 1 1; 1 0 0 0 2): (15, 2; 11, 0) + (10, 20).
  std::vector<float> y(4);
  const std::vector<float> x{1, 1, 1, 1, 1, 1, 0, 0, 0, 2}, weight{1, 2, 3, 4, 5, 0, 1, 0, 1, 0};
  host::matmul(2, 2, 5, x, weight, std::vector<float>{10, 20}, y);
  EXPECT_THAT(y, ElementsAre(25, 22, 21, 20));
  host::matmul(2, 2, 5, x, weight, {}, y);
  EXPECT_THAT(y, ElementsAre(15, 2, 11, 0));
}

TEST(SiluMul, GatesTheSecondHalf) {
  std::vector<float> out(2);
  host::silu_mul(1, 2, std::vector<float>{0, 2, 5, 3}, out);
  EXPECT_THAT(out, ElementsAre(0, FloatEq(static_cast<float>(6 / (1 + std::exp(-2.0))))));
}

TEST(SampleGreedy, TakesTheLargestAndTheLowestOfEquals) {
  std::vector<std::int32_t> tokens(2);
  host::sample_greedy(std::vector<float>{1, 3, 2, 4, 0, 4}, tokens);
  EXPECT_THAT(tokens, ElementsAre(1, 0));
}

TEST(Rope, TurnsTheHalvesByPositionTimesFrequency) {
  // A quarter turn: (x1, x2) becomes (-x2, x1).
  const RopeTurn turn(2, std::vector<double>{std::numbers::pi / 4, 0});
  std::vector<float> head{1, 2, 3, 4};
  turn.apply(head);
  EXPECT_THAT(head, ElementsAre(FloatNear(-3, 1e-6F), 2, FloatNear(1, 1e-6F), 4));
}

TEST(Rope, FrequenciesFallFromOneByPowersOfTheta) {
  LlmSpec llm;
  llm.head_dim = 4;
  llm.rope_theta = 100;
  EXPECT_THAT(rope_frequencies(llm), ElementsAre(1.0, 0.1));
}

TEST(Rope, Llama3StretchesLongWavesOnly) {
  // Turns over the original 100 positions: 100 f / 2 pi. theta 10^8, d = 8: f = 1, 0.01, 1e-4, 1e-6: 15.9, 0.159, ...
  // turns. With factors 1 and 4: the first is kept, the others divided by 8.
  LlmSpec llm;
  llm.head_dim = 8;
  llm.rope_theta = 1e8;
  llm.rope_scaling_factor = 8;
  llm.rope_low_freq_factor = 1;
  llm.rope_high_freq_factor = 4;
  llm.rope_original_max_position = 100;
  const std::vector<double> f = rope_frequencies(llm);
  EXPECT_DOUBLE_EQ(f[0], 1);
  EXPECT_DOUBLE_EQ(f[1], 0.01 / 8);
  EXPECT_DOUBLE_EQ(f[2], 1e-4 / 8);
  // Between: over 500 pi positions the second one turns 500 pi * 0.01 / 2 pi = 2.5 times, which is kept by
  // (2.5 - 1) / (4 - 1) = 1/2 and stretched by the rest.
  llm.rope_original_max_position = 1571;  // 500 pi = 1570.8
  EXPECT_NEAR(rope_frequencies(llm)[1], 0.01 * (0.5 + 0.5 / 8), 1e-6);
}

TEST(RopeAppend, WritesOnlyTheRowsThatSaySo) {
  // One sequence on physical page 1 of 2, pages of 2 tokens, 1 query head, 1 KV head, head_dim 2, no rotation.
  const KvShape shape{.num_pages = 2, .num_kv_heads = 1, .page_size = 2, .head_dim = 2};
  const std::vector<std::int32_t> physical{1}, context_lens{2};
  const PageTable table{.batch = 1, .max_pages = 1, .physical = physical, .context_lens = context_lens};
  std::vector<float> q(4), cache(shape.kv_size(), -1.0F);
  const std::vector<float> qkv{1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60};
  const std::vector<host::TokenRow> rows{{.position = 1, .writes_kv = true}, {.position = 0, .writes_kv = false}};
  host::rope_append(shape, table, 1, rows, std::vector<double>{0}, {}, qkv, q, cache);
  EXPECT_THAT(q, ElementsAre(1, 2, 10, 20));
  EXPECT_THAT(std::vector<float>(cache.begin(), cache.begin() + 8), Each(-1.0F));
  EXPECT_THAT(std::vector<float>(cache.begin() + 8, cache.end()), ElementsAre(-1, -1, 3, 4, -1, -1, 5, 6));
}

TEST(RopeAppend, NormalisesHeadsBeforeTurningThem) {
  const KvShape shape{.num_pages = 1, .num_kv_heads = 1, .page_size = 1, .head_dim = 2};
  const std::vector<std::int32_t> physical{0}, context_lens{1};
  const PageTable table{.batch = 1, .max_pages = 1, .physical = physical, .context_lens = context_lens};
  std::vector<float> q(2), cache(shape.kv_size());
  const std::vector<float> q_gain{2, 1}, k_gain{1, 1};
  host::rope_append(shape, table, 1, std::vector<host::TokenRow>{{.writes_kv = true}}, std::vector<double>{1},
                    {.q_gain = q_gain, .k_gain = k_gain, .epsilon = 0.5}, std::vector<float>{3, 4, 3, 4, 7, 8}, q,
                    cache);
  const float root = std::sqrt(13.0F);
  EXPECT_THAT(q, ElementsAre(FloatEq(6 / root), FloatEq(4 / root)));
  EXPECT_THAT(cache, ElementsAre(FloatEq(3 / root), FloatEq(4 / root), 7, 8));
}

}  // namespace
}  // namespace retrosim::kernels
