#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "kernels/attention/attention.h"
#include "kernels/attention_merge/attention_merge.h"
#include "tests/kernels/random_kv.h"

namespace retrosim::kernels::host {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Attention of one query over explicit positions, in two passes.
struct Direct {
  std::vector<double> out;
  double lse;
};
Direct attend(const RandomKv& kv, std::int64_t b, std::int64_t head, const float* q, const std::set<int>& positions) {
  const auto d = kv.shape.head_dim;
  Direct result{std::vector<double>(d), -INFINITY};
  double sum = 0;
  for (const int position : positions) {
    double dot = 0;
    for (std::int64_t i = 0; i < d; ++i) dot += static_cast<double>(q[i]) * kv.key(b, head, position)[i];
    const double weight = std::exp(dot / std::sqrt(static_cast<double>(d)));
    sum += weight;
    for (std::int64_t i = 0; i < d; ++i) result.out[i] += weight * kv.value(b, head, position)[i];
  }
  for (double& value : result.out) value = sum > 0 ? value / sum : 0;
  result.lse = std::log(sum);
  return result;
}

void expect_row(const Direct& expected, const float* out, float lse) {
  for (std::size_t i = 0; i < expected.out.size(); ++i) EXPECT_NEAR(out[i], expected.out[i], 1e-5);
  if (std::isinf(expected.lse)) {
    EXPECT_EQ(lse, -kInfinity);
  } else {
    EXPECT_NEAR(lse, expected.lse, 1e-5);
  }
}

class SparseAttention : public ::testing::TestWithParam<UnseenMode> {};

TEST_P(SparseAttention, GivesOlderRowsOnlyUnseenPagesAndOnlyTokensBeforeThem) {
  std::mt19937 random(11);
  const int window = 4, q_heads = 4, kv_heads = 2, d = 8, k_max = 5;
  const RandomKv kv({19, 30}, kv_heads, 4, d, random);
  const AttentionSizes sizes{
      .kv = kv.shape, .num_q_heads = q_heads, .window = window, .num_lists = kv_heads, .k_max = k_max};
  const std::vector<float> q = random_floats(2 * window * q_heads * d, random);
  // Sequence 0 has 5 pages, t = 18; sequence 1 has 8 pages, t = 29.
  const std::vector<std::int32_t> selected{0, 2, 4, -1, -1, 1, 3, 4, -1, -1, 0, 3, 5, 6, 7, 2, 3, 4, 5, 7};
  const std::vector<std::int32_t> counts{3, 3, 5, 5}, num_rows{4, 2};
  std::vector<std::int32_t> last_loaded(2 * kv_heads * kv.max_pages);
  std::uniform_int_distribution<std::int32_t> age(0, 5);
  for (std::size_t i = 0; i < last_loaded.size(); ++i) {
    const std::int32_t t = i < last_loaded.size() / 2 ? 18 : 29;
    const std::int32_t a = age(random);
    last_loaded[i] = a == 0 ? -1 : t - a;
  }
  const std::vector<std::int32_t> before = last_loaded;
  std::vector<float> out(q.size(), 9.0F), lse(2 * window * q_heads, 9.0F);
  sparse_attention(sizes, kv.table(), GetParam(), q, kv.cache, selected, counts, num_rows, last_loaded, out, lse);
  int unseen_pages = 0;
  for (int b = 0; b < 2; ++b) {
    const int t = kv.context_lens[b] - 1;
    for (int s = 0; s < window; ++s) {
      for (int head = 0; head < q_heads; ++head) {
        const int list = b * kv_heads + head / 2;
        std::set<int> positions;
        for (int i = 0; i < counts[list] && s < num_rows[b]; ++i) {
          const int page = selected[list * k_max + i];
          if (s > 0 && !(before[list * kv.max_pages + page] < t - s && page * 4 <= t - s)) continue;
          unseen_pages += s > 0 ? 1 : 0;
          for (int position = page * 4; position < page * 4 + 4 && position <= t - s; ++position)
            positions.insert(position);
        }
        const int row = (b * window + s) * q_heads + head;
        expect_row(attend(kv, b, head / 2, &q[row * d], positions), &out[row * d], lse[row]);
      }
    }
    for (int list = b * kv_heads; list < (b + 1) * kv_heads; ++list) {
      for (int page = 0; page < kv.max_pages; ++page) {
        const auto* list_begin = &selected[list * k_max];
        const bool loaded = std::find(list_begin, list_begin + counts[list], page) != list_begin + counts[list];
        EXPECT_EQ(last_loaded[list * kv.max_pages + page], loaded ? t : before[list * kv.max_pages + page]);
      }
    }
  }
  EXPECT_GT(unseen_pages, 20);  // the case is not an empty one
}

INSTANTIATE_TEST_SUITE_P(Modes, SparseAttention, ::testing::Values(UnseenMode::skip, UnseenMode::mask));

TEST(SparseAttentionModes, SkipAndMaskAgreeBitForBit) {
  std::mt19937 random(3);
  const RandomKv kv({50}, 1, 4, 8, random);
  const AttentionSizes sizes{.kv = kv.shape, .num_q_heads = 3, .window = 6, .num_lists = 3, .k_max = 4};
  const std::vector<float> q = random_floats(6 * 3 * 8, random);
  const std::vector<std::int32_t> selected{0, 5, 9, 12, 1, 2, 3, 12, 7, 10, 11, 12}, counts{4, 4, 4}, num_rows{6};
  std::vector<std::int32_t> loaded_a(3 * kv.max_pages, -1);
  loaded_a[5] = 46;
  std::vector<std::int32_t> loaded_b = loaded_a;
  std::vector<float> out_a(q.size()), out_b(q.size()), lse_a(18), lse_b(18);
  sparse_attention(sizes, kv.table(), UnseenMode::skip, q, kv.cache, selected, counts, num_rows, loaded_a, out_a,
                   lse_a);
  sparse_attention(sizes, kv.table(), UnseenMode::mask, q, kv.cache, selected, counts, num_rows, loaded_b, out_b,
                   lse_b);
  EXPECT_EQ(out_a, out_b);
  EXPECT_EQ(lse_a, lse_b);
  EXPECT_EQ(loaded_a, loaded_b);
}

TEST(DenseAttention, IsSparseAttentionOverEveryPage) {
  std::mt19937 random(4);
  const RandomKv kv({13, 9}, 2, 4, 8, random);
  AttentionSizes sizes{.kv = kv.shape, .num_q_heads = 4, .window = 1, .num_lists = 2, .k_max = 4};
  const std::vector<float> q = random_floats(2 * 4 * 8, random);
  const std::vector<std::int32_t> selected{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, -1, 0, 1, 2, -1}, counts{4, 4, 3, 3};
  const std::vector<std::int32_t> num_rows{1, 1};
  std::vector<float> out(q.size()), lse(8), dense(q.size()), dense_lse(8);
  sparse_attention(sizes, kv.table(), UnseenMode::skip, q, kv.cache, selected, counts, num_rows, {}, out, lse);
  dense_attention(sizes, kv.table(), 0, q, kv.cache, num_rows, dense, dense_lse);
  EXPECT_EQ(out, dense);
  EXPECT_EQ(lse, dense_lse);
}

TEST(DenseAttention, SeesOnlyTheSlidingWindow) {
  std::mt19937 random(4);
  const RandomKv kv({13}, 1, 4, 8, random);
  const AttentionSizes sizes{.kv = kv.shape, .num_q_heads = 1, .window = 2, .num_lists = 1, .k_max = 1};
  const std::vector<float> q = random_floats(2 * 8, random);
  std::vector<float> out(q.size()), lse(2);
  dense_attention(sizes, kv.table(), 3, q, kv.cache, std::vector<std::int32_t>{2}, out, lse);
  expect_row(attend(kv, 0, 0, q.data(), {10, 11, 12}), out.data(), lse[0]);
  expect_row(attend(kv, 0, 0, &q[8], {9, 10, 11}), &out[8], lse[1]);
}

TEST(PrefillAttention, IsDenseAttentionOfEveryRow) {
  std::mt19937 random(6);
  const RandomKv kv({11, 11}, 2, 4, 8, random);
  const std::vector<float> q = random_floats(2 * 5 * 4 * 8, random);
  std::vector<float> out(q.size());
  prefill_attention(kv.shape, kv.table(), 4, 5, 0, q, kv.cache, out);
  for (int b = 0; b < 2; ++b) {
    for (int n = 0; n < 5; ++n) {
      std::set<int> positions;
      for (int position = 0; position <= 6 + n; ++position) positions.insert(position);
      for (int head = 0; head < 4; ++head) {
        const int row = (b * 5 + n) * 4 + head;
        const Direct expected = attend(kv, b, head / 2, &q[row * 8], positions);
        for (int i = 0; i < 8; ++i) EXPECT_NEAR(out[row * 8 + i], expected.out[i], 1e-5);
      }
    }
  }
}

TEST(MergeAttentionState, OfTwoPartsIsAttentionOverTheirUnion) {
  std::mt19937 random(7);
  const RandomKv kv({12}, 1, 4, 8, random);
  const std::vector<float> q = random_floats(8, random);
  const Direct a = attend(kv, 0, 0, q.data(), {0, 1, 2, 3, 8}), b = attend(kv, 0, 0, q.data(), {4, 5, 9});
  std::vector<float> out(a.out.begin(), a.out.end());
  const std::vector<float> other(b.out.begin(), b.out.end());
  auto lse = static_cast<float>(a.lse);
  merge_attention_state(out, lse, other, static_cast<float>(b.lse));
  expect_row(attend(kv, 0, 0, q.data(), {0, 1, 2, 3, 4, 5, 8, 9}), out.data(), lse);
}

TEST(MergeAttentionState, LeavesTheOtherPartAsItIsWhenOneIsEmpty) {
  std::vector<float> out{1, 2};
  float lse = 0.5F;
  merge_attention_state(out, lse, std::vector<float>{0, 0}, -kInfinity);
  EXPECT_THAT(out, ElementsAre(1, 2));
  EXPECT_EQ(lse, 0.5F);
  float empty = -kInfinity;
  std::vector<float> zero{0, 0};
  merge_attention_state(zero, empty, std::vector<float>{0, 0}, -kInfinity);
  EXPECT_THAT(zero, Each(0.0F));
  EXPECT_EQ(empty, -kInfinity);
  merge_attention_state(zero, empty, out, lse);
  EXPECT_THAT(zero, ElementsAre(1, 2));
}

TEST(MergeSplits, GivesTheAttentionOfTheWhole) {
  std::mt19937 random(8);
  const RandomKv kv({12}, 1, 4, 8, random);
  const std::vector<float> q = random_floats(16, random);
  std::vector<float> partial, partial_lse;
  const std::vector<std::set<int>> splits{{0, 1, 2}, {}, {3, 4}};
  for (const auto& split : splits) {
    for (int row = 0; row < 2; ++row) {
      const Direct part = attend(kv, 0, 0, &q[row * 8], split);
      partial.insert(partial.end(), part.out.begin(), part.out.end());
      partial_lse.push_back(static_cast<float>(part.lse));
    }
  }
  std::vector<float> out(16), lse(2);
  merge_splits(3, 2, 8, partial, partial_lse, out, lse);
  for (int row = 0; row < 2; ++row) expect_row(attend(kv, 0, 0, &q[row * 8], {0, 1, 2, 3, 4}), &out[row * 8], lse[row]);
}

TEST(MergeOutputCache, UpdatesPushesAndPops) {
  // One head of size 1, window 3: a ring of 2. Every output is its position's number with lse 0; supplementary outputs
  // are 10 with lse 0, so each merge is the mean of both with lse = log 2 more, as exp(lse) adds: 1 + 1 = 2, 2 + 1 = 3.
  const OutputCacheSizes sizes{.batch = 1, .window = 3, .slots = 2, .num_q_heads = 1, .head_dim = 1};
  std::vector<float> values(2, NAN), cache_lse(2, NAN);
  std::vector<float> out, lse;
  const auto step = [&](std::int32_t position, std::int32_t rows) {
    out = {static_cast<float>(position), 10, 10};
    lse = {0, 0, 0};
    merge_output_cache(sizes, std::vector<std::int32_t>{position}, std::vector<std::int32_t>{rows}, values, cache_lse,
                       out, lse);
  };
  step(4, 1);
  EXPECT_EQ(values[0], 4);
  step(5, 2);
  EXPECT_FLOAT_EQ(out[1], 7);  // (4 + 10) / 2
  EXPECT_THAT(values, ElementsAre(out[1], 5));
  step(6, 3);
  EXPECT_FLOAT_EQ(out[1], 7.5F);  // (5 + 10) / 2
  EXPECT_FLOAT_EQ(out[2], 8);     // (2 * 7 + 10) / 3
  EXPECT_FLOAT_EQ(lse[2], std::log(3.0F));
  EXPECT_THAT(values, ElementsAre(6, out[1]));  // position 4 has left its slot to position 6
}

}  // namespace
}  // namespace retrosim::kernels::host
