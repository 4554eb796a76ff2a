// State of every policy by hand. 4 layers, 1 dense; 1,000 tokens in 63 pages of 16 (1,008 slots); a quarter of them is
// 16 pages, 256 tokens. 2 KV heads of 8 at 2 bytes: 64 bytes of K and V per token and layer, 8 query heads.
#include <gtest/gtest.h>

#include "model/policy.h"
#include "tests/model/tiny_llm.h"

namespace retrosim {
namespace {

PolicyState state_of(std::string_view policy, PolicyParams params = {}) {
  params.budget = 0.25;
  return make_policy(policy, params)->state(testing::tiny_llm(), 1000, 16, DType::bf16, 1);
}

void expect_state(const PolicyState& state, const PolicyState& by_hand) {
  EXPECT_EQ(state.gpu_kv, by_hand.gpu_kv);
  EXPECT_EQ(state.gpu_metadata, by_hand.gpu_metadata);
  EXPECT_EQ(state.host_kv, by_hand.host_kv);
  EXPECT_EQ(state.host_metadata, by_hand.host_metadata);
}

constexpr std::int64_t kEverything = 4 * 1008 * 64;
constexpr std::int64_t kBudgetOnly = (1008 + 3 * 256) * 64;  // dense layer, three sparse ones

TEST(PolicyState, OfPoliciesThatKeepEverythingOnTheGpu) {
  expect_state(state_of("full"), {.gpu_kv = kEverything});
  // min and max of 16 elements of 2 bytes: 64 bytes a page
  expect_state(state_of("quest"), {.gpu_kv = kEverything, .gpu_metadata = 3 * 63 * 64});
  // and a list of 16 ids of 4 bytes per KV head
  expect_state(state_of("reuse"), {.gpu_kv = kEverything, .gpu_metadata = 3 * (63 * 64 + 2 * 16 * 4)});
}

TEST(PolicyState, OfEvictingPolicies) {
  for (const char* policy : {"streaming", "tova", "snapkv"}) expect_state(state_of(policy), {.gpu_kv = kBudgetOnly});
  // float32 scores per query head
  for (const char* policy : {"h2o", "keyformer"}) {
    expect_state(state_of(policy), {.gpu_kv = kBudgetOnly, .gpu_metadata = 3 * 8 * 256 * 4});
  }
  // logits of 32 queries, 2 bytes, per query head
  expect_state(state_of("morphkv"), {.gpu_kv = kBudgetOnly, .gpu_metadata = 3 * 8 * 32 * 256 * 2});
}

TEST(PolicyState, ReleasedSnapKvIsAsWideAsTheQueryHeads) {
  expect_state(state_of("snapkv", {.variant = PolicyVariant::released}), {.gpu_kv = (1008 + 3 * 4 * 256) * 64});
}

// MorphKV's own figure: R = 200, C + R = 4,000, 32 query heads, 2 bytes: 51.2 MB per layer.
TEST(PolicyState, MorphKvLogitsOfItsPaper) {
  LlmSpec llm = testing::tiny_llm();
  llm.num_q_heads = 32;
  const auto policy = make_policy("morphkv", {.budget_tokens = 4000, .options = {{"recent_queries", 200}}});
  EXPECT_EQ(policy->state(llm, 100000, 16, DType::bf16, 3).gpu_metadata, 51'200'000);
}

TEST(PolicyState, OfArkvale) {
  // Twice the selected pages are resident: 32. Digests of 64 bytes and two maps of 4-byte ids.
  expect_state(
      state_of("arkvale"),
      {.gpu_kv = (1008 + 3 * 512) * 64, .gpu_metadata = 3 * (63 * 64 + 4 * (32 + 63)), .host_kv = 3 * 1008 * 64});
  expect_state(state_of("arkvale", {.variant = PolicyVariant::released}),
               {.gpu_kv = kBudgetOnly, .gpu_metadata = 3 * (63 * 64 + 4 * (16 + 63)), .host_kv = 3 * 1008 * 64});
}

TEST(PolicyState, OfPqCache) {
  // 2 sink pages, 8 local ones and 10 of the block cache: 320 tokens. Centroids: 64 per part, 8 elements, 2 bytes, 2
  // heads. Codes: 2,000 vectors of 2 codes of 6 bits = 3,000 bytes a layer, two layers on the GPU.
  const PolicyParams params{.options = {{"cache_tokens", 160}}};
  expect_state(state_of("pqcache", params), {.gpu_kv = (1008 + 3 * 320) * 64,
                                             .gpu_metadata = 3 * 2 * 64 * 8 * 2 + 2 * 3000,
                                             .host_kv = 3 * 1000 * 64,
                                             .host_metadata = 3 * 3000});
  PolicyParams released = params;
  released.variant = PolicyVariant::released;  // 8 bytes a code: 32,000 a layer
  EXPECT_EQ(state_of("pqcache", released).host_metadata, 3 * 32000);
}

TEST(PolicyState, OfMagicPig) {
  // 4 + 64 + 256 tokens on the GPU; the projection 8 x 1,500 once. Host, a layer: norms 4 * 2,000, tables 2 * 150 *
  // 1,000 ids of 2 bytes, bucket begin and end 2 * 2 * 150 * 1,024 * 4, hit counts 8 * 1,000.
  expect_state(state_of("magicpig"), {.gpu_kv = (1008 + 3 * 324) * 64,
                                      .gpu_metadata = 8 * 1500 * 2,
                                      .host_kv = 3 * 1000 * 64,
                                      .host_metadata = 3 * (8000 + 600000 + 2457600 + 8000)});
}

// The paper's table: 14 GB of hash tables for Llama-3.1-8B at 96k with (10, 150) in 30 sparse layers, twice that for
// L = 300 (28 GB): 8 * L * 98,304 * 4 * 30 bytes.
TEST(PolicyState, MagicPigTablesOfItsPaper) {
  const LlmSpec llm = find_llm_spec("llama-3.1-8b");
  const auto tables = [&](double count) {
    const auto policy = make_policy("magicpig", {.options = {{"lsh_tables", count}}});
    return policy->state(llm, 98304, 16, DType::bf16, 2).host_metadata;
  };
  const std::int64_t buckets = 30LL * 2 * 8 * 150 * 1024 * 4;
  EXPECT_EQ(tables(300) - tables(150), 14'155'776'000 + buckets);
}

TEST(PolicyState, OfIceCache) {
  // Staging of the 12 pages from the tree; 1.11 of the cache on the host; promoted keys 2,000 * 0.03 / 0.97 of 32
  // bytes.
  expect_state(state_of("icecache"),
               {.gpu_kv = kBudgetOnly, .gpu_metadata = 12 * 16 * 64, .host_kv = 3 * 71040, .host_metadata = 3 * 1979});
}

TEST(PolicyState, OfLServe) {
  // One KV head of two keeps all, the other 128 + 256 tokens and a page: 400. 32 bytes per token and head. Logical
  // pages have 16 tokens too: min and max of one head, 32 bytes.
  expect_state(state_of("lserve"), {.gpu_kv = (2 * 1008 + 3 * (1008 + 400)) * 32, .gpu_metadata = 3 * 63 * 32});
}

}  // namespace
}  // namespace retrosim
