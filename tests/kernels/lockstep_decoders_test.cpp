#include "kernels/lockstep_decoders.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "tests/kernels/random_model.h"

namespace retrosim::kernels {
namespace {

constexpr int kPrompt = 30;  // the eighth page of 4 is open: it is copied, not shared
constexpr int kTokens = 60;

LockstepMember member_of(std::string_view policy, double budget, int window, HostDecoderOptions options = {}) {
  LockstepMember member;
  PolicyParams params{.budget = budget};
  if (policy == "reuse") params.options["interval"] = 3;
  member.config.policy = make_policy(policy, params);
  member.config.window = window;
  member.config.page_size = 4;
  member.config.dense_layers = 1;
  member.options = options;
  return member;
}

void expect_close(const std::vector<float>& a, const std::vector<float>& b, double tolerance, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  double scale = 0;
  for (const float value : b) scale = std::max(scale, std::abs(static_cast<double>(value)));
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_FALSE(!(std::abs(static_cast<double>(a[i]) - b[i]) <= tolerance * scale))
        << what << ": " << a[i] << ", " << b[i];
  }
}

std::set<int> selection(const HostDecoder& decoder, int layer, int list) {
  const HostLayerState& state = decoder.layer(layer);
  const auto max_pages = static_cast<std::int64_t>(state.selected.size() / state.selected_counts.size());
  const auto first = state.selected.begin() + list * max_pages;
  return {first, first + state.selected_counts[list]};
}

class Lockstep : public ::testing::Test {
 protected:
  LlmWeights model = random_model({.qkv_bias = true}, 31);
  std::vector<std::int32_t> tokens = random_tokens(kTokens, 50, 32);
  DenseForward prompt{model, kTokens, 1};

  LockstepDecoders decoders(const std::vector<LockstepMember>& members) {
    prompt.run(std::span(tokens).first(kPrompt));
    return {model, prompt, kPrompt, members, kTokens, 3};
  }
  void step(LockstepDecoders& all, int t) { all.step(std::vector<std::int32_t>(all.size(), tokens[t])); }
};

// Each member beside a decoder of its own that prefills the prompt with the reference kernels, in double.
TEST_F(Lockstep, EveryMemberDecodesAsItWouldAlone) {
  const std::vector<LockstepMember> members{
      member_of("full", 1, 1, {.arithmetic = HostArithmetic::simd}),
      member_of("quest", 0.3, 1, {.arithmetic = HostArithmetic::simd}),
      member_of("quest", 0.3, 5, {.arithmetic = HostArithmetic::simd}),
      member_of("quest", 0.3, 5, {.reduction = GroupReduction::mean, .arithmetic = HostArithmetic::simd}),
      member_of("quest", 0.6, 2, {.reduction = GroupReduction::per_query_head, .arithmetic = HostArithmetic::simd}),
      member_of("quest", 0.3, 3),
      member_of("reuse", 0.3, 1, {.arithmetic = HostArithmetic::simd}),
      member_of("quest", 0.3, 1, {.ranking = PageRanking::attention_mass, .served_steps = 3})};
  LockstepDecoders all = decoders(members);
  std::vector<HostDecoder> alone;
  for (const LockstepMember& member : members) {
    HostDecoderOptions options = member.options;
    options.arithmetic = HostArithmetic::reference;
    options.max_tokens = kTokens;
    alone.emplace_back(model, member.config, options).prefill(std::span(tokens).first(kPrompt));
  }
  for (int t = kPrompt; t < kTokens; ++t) {
    step(all, t);
    for (std::size_t i = 0; i < members.size(); ++i) {
      expect_close(all.logits(i), alone[i].step(std::span(tokens).subspan(t, 1)), 1e-4,
                   "member " + std::to_string(i) + ", position " + std::to_string(t));
      EXPECT_EQ(all.decoder(i).demand().layers, alone[i].demand().layers) << i << ", " << t;
    }
  }
}

TEST_F(Lockstep, MembersMayFollowDifferentTexts) {
  const LockstepMember quest = member_of("quest", 0.3, 2);
  LockstepDecoders both = decoders({quest, quest});
  LockstepDecoders one(model, prompt, kPrompt, std::vector{quest}, kTokens, 1);
  for (int t = kPrompt; t < kTokens; ++t) {
    both.step(std::vector<std::int32_t>{tokens[t], (tokens[t] + 1) % 50});
    one.step(std::span(tokens).subspan(t, 1));
    // A product of more rows may add in another order.
    expect_close(both.logits(0), one.logits(0), 1e-4, "position " + std::to_string(t));
    EXPECT_GT(std::abs(both.logits(1)[0] - one.logits(0)[0]), 1e-3);
  }
}

// k is half of the pages, rounded up, the open one among them; the masses that rank the others are what a full softmax
// over all keys gives, mean over the two query heads of a list.
TEST_F(Lockstep, TheOracleRanksPagesByTrueAttentionMass) {
  LockstepDecoders all = decoders({member_of("quest", 0.5, 1, {.ranking = PageRanking::attention_mass})});
  step(all, kPrompt);
  const HostDecoder& oracle = all.decoder(0);
  const std::int64_t pages = (kPrompt + 1 + 3) / 4;
  EXPECT_EQ(std::ssize(selection(oracle, 1, 0)), (pages + 1) / 2);
  EXPECT_TRUE(selection(oracle, 1, 0).contains(static_cast<int>(pages) - 1));
  const KvShape& kv = oracle.kv_shape();
  std::mt19937 random(4);
  const std::vector<float> q = random_weights(4 * 8, 1.0, 0.0, random);
  std::vector<float> masses(2 * pages);
  std::vector<std::int32_t> physical(pages);
  std::iota(physical.begin(), physical.end(), 0);
  const std::vector<std::int32_t> lens{kPrompt};  // the shared prompt: physical pages 0, 1, ...
  simd::page_masses(kv, {.batch = 1, .max_pages = pages, .physical = physical, .context_lens = lens}, 4,
                    GroupReduction::max, q, 4 * 8, oracle.kv_cache(1), masses);
  for (int head = 0; head < 2; ++head) {
    std::vector<double> expected(pages, 0.0);
    for (int g = 0; g < 2; ++g) {
      std::vector<double> weights(kPrompt);
      for (int p = 0; p < kPrompt; ++p) {
        double dot = 0;
        for (int i = 0; i < 8; ++i) {
          dot += q[(head * 2 + g) * 8 + i] * oracle.kv_cache(1)[kv.key_offset(p / 4, head, p % 4) + i];
        }
        weights[p] = std::exp(dot / std::sqrt(8.0));
      }
      const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
      for (int p = 0; p < kPrompt; ++p) expected[p / 4] += weights[p] / sum / 2;  // mean over two query heads
    }
    for (std::int64_t page = 0; page < pages; ++page) {
      EXPECT_NEAR(masses[head * pages + page], expected[page], 1e-5);
    }
  }
}

TEST_F(Lockstep, EarlierChoicesServeTheCurrentToken) {
  LockstepDecoders all = decoders({member_of("quest", 0.3, 1), member_of("quest", 0.3, 1, {.served_steps = 3})});
  std::vector<std::set<int>> chosen;  // by Quest in layer 1, whose input does not depend on the policy
  for (int t = kPrompt; t < kTokens; ++t) {
    step(all, t);
    chosen.push_back(selection(all.decoder(0), 1, 1));
    std::set<int> expected;
    for (std::size_t i = chosen.size() - std::min<std::size_t>(3, chosen.size()); i < chosen.size(); ++i) {
      expected.insert(chosen[i].begin(), chosen[i].end());
    }
    EXPECT_EQ(selection(all.decoder(1), 1, 1), expected) << t;
  }
}

// Interval 3: new lists at the first step (position 30) and at positions 33, 36, ...; between them the list stays, but
// for the open page.
TEST_F(Lockstep, AReusedSelectionStaysBetweenItsRefreshes) {
  LockstepDecoders all = decoders({member_of("quest", 0.3, 1), member_of("reuse", 0.3, 1)});
  std::set<int> previous;
  for (int t = kPrompt; t < kTokens; ++t) {
    step(all, t);
    const std::set<int> now = selection(all.decoder(1), 1, 0);
    EXPECT_TRUE(now.contains(t / 4));
    if (t % 3 == 0) {
      EXPECT_EQ(now, selection(all.decoder(0), 1, 0));
    } else if (t % 4 != 0) {
      EXPECT_EQ(now, previous) << t;
    }
    previous = now;
  }
}

}  // namespace
}  // namespace retrosim::kernels
