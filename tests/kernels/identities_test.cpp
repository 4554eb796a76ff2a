// The identities I1 to I7 of method.md, on the host decoder.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "kernels/attention/attention.h"
#include "kernels/attention_merge/attention_merge.h"
#include "kernels/host_decoder.h"
#include "tests/kernels/random_kv.h"
#include "tests/kernels/random_model.h"
#include "tests/kernels/retro_oracle.h"

namespace retrosim::kernels {
namespace {

constexpr int kPageSize = 4;

DecodeConfig config_of(std::string_view policy, double budget, int window, int dense_layers, std::int64_t batch = 1) {
  DecodeConfig config;
  config.policy = make_policy(policy, {.budget = budget});
  config.window = window;
  config.batch = batch;
  config.page_size = kPageSize;
  config.dense_layers = dense_layers;
  return config;
}

// Logits of every step of decoding tokens[prompt ..) after a prefill of tokens[0 .. prompt).
std::vector<std::vector<float>> decode(HostDecoder& decoder, const std::vector<std::int32_t>& tokens, int prompt) {
  decoder.prefill(std::span(tokens).first(prompt));
  std::vector<std::vector<float>> logits;
  for (std::size_t i = prompt; i < tokens.size(); ++i) logits.push_back(decoder.step(std::span(tokens).subspan(i, 1)));
  return logits;
}

template <typename A, typename B>
void expect_close(const A& a, const B& b, double tolerance, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  double scale = 0;
  for (const auto& value : b) scale = std::max(scale, std::abs(static_cast<double>(value)));
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_FALSE(!(std::abs(static_cast<double>(a[i]) - b[i]) <= tolerance * scale))
        << what << ", element " << i << ": " << a[i] << " and " << b[i];
  }
}

class Windows : public ::testing::TestWithParam<std::tuple<int, int>> {  // window, dense layers
 protected:
  int window = std::get<0>(GetParam());
  int dense_layers = std::get<1>(GetParam());
  LlmWeights model = random_model({}, 1);
  std::vector<std::int32_t> tokens = random_tokens(90, 50, 2);
};
INSTANTIATE_TEST_SUITE_P(WindowAndDenseLayers, Windows,
                         ::testing::Combine(::testing::Values(1, 2, 3, 8, 16), ::testing::Values(0, 1, 2)));

TEST_P(Windows, I1FullBudgetEqualsDenseDecodingAndNothingIsUnseen) {
  HostDecoder dense(model, config_of("full", 1.0, 1, 0), {.max_tokens = 90});
  const auto expected = decode(dense, tokens, 50);
  HostDecoder retro(model, config_of("quest", 1.0, window, dense_layers), {.max_tokens = 90});
  retro.prefill(std::span(tokens).first(50));
  for (std::size_t i = 50; i < tokens.size(); ++i) {
    const std::vector<float> logits = retro.step(std::span(tokens).subspan(i, 1));
    expect_close(logits, expected[i - 50], 1e-4, "step " + std::to_string(i));
    for (const LayerDemand& demand : retro.demand().layers) EXPECT_EQ(demand.unseen_visits, 0);
  }
}

TEST_P(Windows, I7EqualsAnOracleThatKeepsExplicitSets) {
  const DecodeConfig config = config_of("quest", 0.3, window, dense_layers);
  HostDecoder decoder(model, config, {.max_tokens = 90});
  const auto logits = decode(decoder, tokens, 50);
  RetroOracle oracle(
      model, {.page_size = kPageSize,
              .dense_layers = dense_layers,
              .window = window,
              .reduction = GroupReduction::max,
              .pages_selected = [&](std::int64_t pages) { return config.policy->pages_selected(pages, kPageSize); }});
  oracle.prefill({tokens.begin(), tokens.begin() + 50});
  for (int t = 50; t < 90; ++t) {
    expect_close(logits[t - 50], oracle.step(tokens[t]), 1e-4, "position " + std::to_string(t));
  }
  std::int64_t unseen = 0;
  for (const LayerDemand& demand : decoder.demand().layers) unseen += demand.unseen_visits;
  EXPECT_EQ(unseen > 0, window > 1) << "the supplementary path must have been taken";
}

TEST_P(Windows, I4PagesSeenAreTheQuerysOwnAndItsUnseenOnes) {
  const DecodeConfig config = config_of("quest", 0.3, window, dense_layers);
  HostDecoder decoder(model, config, {.max_tokens = 90});
  decoder.prefill(std::span(tokens).first(50));
  // Explicit sets: pages[layer][KV head][t] loaded, seen[...][t] by query t so far.
  std::map<std::tuple<int, int, int>, std::set<int>> loaded, seen;
  std::map<std::tuple<int, int, int>, std::size_t> visits;  // own k + sum of |U_s|
  for (int t = 50; t < 90; ++t) {
    decoder.step(std::span(tokens).subspan(t, 1));
    for (int layer = dense_layers; layer < 4; ++layer) {
      std::int64_t unseen = 0;
      for (int head = 0; head < 2; ++head) {
        const HostLayerState& state = decoder.layer(layer);
        const std::int64_t columns = static_cast<std::int64_t>(state.selected.size()) / 2;
        const auto* begin = &state.selected[head * columns];
        std::set<int>& now = loaded[{layer, head, t}];
        now = std::set<int>(begin, begin + state.selected_counts[head]);
        EXPECT_EQ(now.size(), static_cast<std::size_t>(state.selected_counts[head])) << "a page is loaded once";
        seen[{layer, head, t}] = now;
        visits[{layer, head, t}] = now.size();
        for (int older = std::max(50, t - window + 1); older < t; ++older) {
          std::set<int>& pages = seen[{layer, head, older}];
          for (const int page : now) {
            if (page * kPageSize > older || !pages.insert(page).second) continue;
            ++visits[{layer, head, older}];
            ++unseen;
          }
        }
      }
      EXPECT_EQ(decoder.demand().layers[layer].unseen_visits, unseen);
    }
  }
  for (const auto& [key, pages] : seen) EXPECT_EQ(pages.size(), visits[key]);
}

TEST_P(Windows, I6KvBytesReadDoNotDependOnTheWindow) {
  HostDecoder retro(model, config_of("quest", 0.3, window, dense_layers), {.max_tokens = 90});
  HostDecoder quest(model, config_of("quest", 0.3, 1, dense_layers), {.max_tokens = 90});
  decode(retro, tokens, 50);
  decode(quest, tokens, 50);
  EXPECT_EQ(total_traffic(retro.graph()).kv_read, total_traffic(quest.graph()).kv_read);
  EXPECT_GE(total_traffic(retro.graph()).kv_write, total_traffic(quest.graph()).kv_write);
  for (int layer = dense_layers; layer < 4; ++layer) {
    EXPECT_EQ(retro.demand().layers[layer].pages_loaded, quest.demand().layers[layer].pages_loaded);
    EXPECT_EQ(retro.demand().layers[layer].tokens_loaded, quest.demand().layers[layer].tokens_loaded);
  }
}

TEST_P(Windows, I2WindowOneThroughTheRetroPathIsQuestBitForBit) {
  HostDecoder quest(model, config_of("quest", 0.3, 1, dense_layers), {.max_tokens = 90});
  HostDecoder tracked(model, config_of("quest", 0.3, 1, dense_layers), {.max_tokens = 90, .always_track_pages = true});
  EXPECT_EQ(decode(quest, tokens, 50), decode(tracked, tokens, 50));
  // With any window, the first step has no older rows and is Quest's.
  HostDecoder retro(model, config_of("quest", 0.3, window, dense_layers), {.max_tokens = 90});
  HostDecoder again(model, config_of("quest", 0.3, 1, dense_layers), {.max_tokens = 90});
  const std::vector<std::int32_t> first(tokens.begin(), tokens.begin() + 51);
  EXPECT_EQ(decode(retro, first, 50), decode(again, first, 50));
}

TEST(Identities, I3OutputOfAFrozenLayerIsAttentionOverTheUnion) {
  // Q, K and V held fixed; three lists choose pages at random, so that pages leave and come back.
  std::mt19937 random(9);
  const int heads = 3, d = 8, window = 6, k = 3, steps = 40;
  RandomKv kv({60}, heads, kPageSize, d, random);
  const std::vector<float> queries = random_floats(60 * heads * d, random);
  std::vector<float> cache((window - 1) * heads * d), cache_lse((window - 1) * heads);
  std::vector<std::int32_t> last_loaded(heads * kv.max_pages, -1);
  std::map<std::pair<int, int>, std::set<int>> pages;  // (head, query)
  for (int t = 20; t < 20 + steps; ++t) {
    kv.context_lens[0] = t + 1;
    std::vector<std::int32_t> selected, counts(heads, k);
    for (int head = 0; head < heads; ++head) {
      std::set<int> chosen{t / kPageSize};
      std::uniform_int_distribution<int> any(0, t / kPageSize);
      while (chosen.size() < k) chosen.insert(any(random));
      selected.insert(selected.end(), chosen.begin(), chosen.end());
      pages[{head, t}] = chosen;
    }
    const int rows = std::min(window, t - 19);
    std::vector<float> q(window * heads * d), out(q.size()), lse(window * heads);
    for (int s = 0; s < rows; ++s) std::copy_n(&queries[(t - s) * heads * d], heads * d, &q[s * heads * d]);
    host::sparse_attention({.kv = kv.shape, .num_q_heads = heads, .window = window, .num_lists = heads, .k_max = k},
                           kv.table(), host::UnseenMode::skip, q, kv.cache, selected, counts,
                           std::vector<std::int32_t>{rows}, last_loaded, out, lse);
    host::merge_output_cache({.batch = 1, .window = window, .slots = window - 1, .num_q_heads = heads, .head_dim = d},
                             std::vector<std::int32_t>{t}, std::vector<std::int32_t>{rows}, cache, cache_lse, out, lse);
    for (int n = 0; n < rows; ++n) {
      const int query = t - n;
      for (int head = 0; head < heads; ++head) {
        std::set<int> joined;
        for (int step = query; step <= t; ++step) joined.insert(pages[{head, step}].begin(), pages[{head, step}].end());
        std::vector<double> expected(d);
        double sum = 0;
        for (int p = 0; p <= query; ++p) {
          if (!joined.contains(p / kPageSize)) continue;
          double product = 0;
          for (int i = 0; i < d; ++i) product += queries[(query * heads + head) * d + i] * kv.key(0, head, p)[i];
          const double weight = std::exp(product / std::sqrt(d));
          sum += weight;
          for (int i = 0; i < d; ++i) expected[i] += weight * kv.value(0, head, p)[i];
        }
        for (double& value : expected) value /= sum;
        const std::span<const float> got(&out[(n * heads + head) * d], d);
        expect_close(got, expected, 1e-5, "query " + std::to_string(query) + " after step " + std::to_string(t));
        EXPECT_NEAR(lse[n * heads + head], std::log(sum), 1e-5);
      }
    }
  }
}

TEST(Identities, I3OutputCacheOfASparseLayerZeroIsAttentionOverTheUnion) {
  // Layer 0's queries, keys and values never change, so its cached outputs equal those of a decoder whose queries
  // loaded the union at once: the oracle with the same window, whose sums run over exactly these pages.
  const LlmWeights model = random_model({.num_layers = 1}, 3);
  const std::vector<std::int32_t> tokens = random_tokens(80, 50, 4);
  const int window = 5;
  HostDecoder decoder(model, config_of("quest", 0.3, window, 0), {.max_tokens = 80});
  HostDecoder full(model, config_of("full", 1.0, 1, 0), {.max_tokens = 80});
  decoder.prefill(std::span(tokens).first(40));
  full.prefill(std::span(tokens).first(40));
  std::vector<std::set<int>> pages(80);
  for (int t = 40; t < 80; ++t) {
    decoder.step(std::span(tokens).subspan(t, 1));
    full.step(std::span(tokens).subspan(t, 1));
    const HostLayerState& state = decoder.layer(0);
    pages[t] = std::set<int>(state.selected.begin(), state.selected.begin() + state.selected_counts[0]);  // KV head 0
    // Keys and values of layer 0 are those of dense decoding.
    ASSERT_EQ(decoder.kv_cache(0), full.kv_cache(0));
  }
  for (int query = 76; query < 80; ++query) {
    std::set<int> joined;
    for (int t = query; t < 80; ++t) joined.insert(pages[t].begin(), pages[t].end());
    // The query of head 0, from its embedding.
    RetroOracle::Row x(&model.embedding[tokens[query] * 32], &model.embedding[tokens[query] * 32] + 32);
    double squares = 0;
    for (const double v : x) squares += v * v;
    for (int i = 0; i < 32; ++i)
      x[i] *= model.layers[0].input_norm[i] / std::sqrt(squares / 32 + model.llm.rms_norm_eps);
    std::vector<double> head(8);
    for (int i = 0; i < 8; ++i) {
      for (int j = 0; j < 32; ++j) head[i] += model.layers[0].qkv[i * 32 + j] * x[j];
    }
    for (int i = 0; i < 4; ++i) {
      const auto turned = std::complex(head[i], head[i + 4]) * std::polar(1.0, query * std::pow(1e4, -i / 4.0));
      head[i] = turned.real();
      head[i + 4] = turned.imag();
    }
    std::vector<double> expected(8);
    double sum = 0;
    const KvShape& kv = decoder.kv_shape();  // one sequence: logical pages are physical ones
    for (int p = 0; p <= query; ++p) {
      if (!joined.contains(p / kPageSize)) continue;
      double product = 0;
      for (int i = 0; i < 8; ++i)
        product += head[i] * decoder.kv_cache(0)[kv.key_offset(p / kPageSize, 0, p % kPageSize) + i];
      const double weight = std::exp(product / std::sqrt(8.0));
      sum += weight;
      for (int i = 0; i < 8; ++i) {
        expected[i] += weight * decoder.kv_cache(0)[kv.value_offset(p / kPageSize, 0, p % kPageSize) + i];
      }
    }
    for (double& value : expected) value /= sum;
    const std::span<const float> cached(&decoder.layer(0).output_cache_values[query % (window - 1) * 32], 8);
    expect_close(cached, expected, 1e-5, "query " + std::to_string(query));
  }
}

TEST(Identities, I5OutputCacheBytesDoNotDependOnTheContext) {
  const LlmWeights model = random_model({}, 1);
  const HostDecoder small(model, config_of("quest", 0.3, 4, 1), {.max_tokens = 64});
  const HostDecoder large(model, config_of("quest", 0.3, 4, 1), {.max_tokens = 2048});
  for (int layer = 0; layer < 4; ++layer) {
    // (w - 1) rows of 4 heads: 3 * 4 * 8 values and 3 * 4 log-sum-exps, none in the dense layer.
    EXPECT_EQ(small.layer(layer).output_cache_values.size(), layer == 0 ? 0U : 96U);
    EXPECT_EQ(large.layer(layer).output_cache_values.size(), small.layer(layer).output_cache_values.size());
    EXPECT_EQ(large.layer(layer).output_cache_lse.size(), small.layer(layer).output_cache_lse.size());
  }
}

}  // namespace
}  // namespace retrosim::kernels
