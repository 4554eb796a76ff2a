#include "model/step_graph.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>

#include "model/attention_splits.h"
#include "model/error.h"
#include "model/layer_ops.h"
#include "tests/model/tiny_llm.h"

namespace retrosim {
namespace {

using testing::tiny_config;

const Op& find_op(const StepGraph& graph, const std::string& name, int layer) {
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
    if (graph.op(v).name == name && graph.op(v).layer == layer) return graph.op(v);
  }
  throw std::logic_error("no operation " + name);
}

template <class Shape>
const Shape& shape_of(const StepGraph& graph, const std::string& name, int layer) {
  return std::get<Shape>(find_op(graph, name, layer).shape);
}

std::map<int, int> ops_per_layer(const StepGraph& graph) {
  std::map<int, int> counts;
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) ++counts[graph.op(v).layer];
  return counts;
}

TEST(StepGraph, QuestStepHasTwelveKernelsPerSparseLayerAndTenPerDenseOne) {
  const DecodeConfig config = tiny_config("quest");
  const auto counts = ops_per_layer(build_decode_step(config, demand_without_unseen(config)));
  EXPECT_EQ(counts.at(0), 10);  // norm qkv rope attention merge o norm gate_up silu down
  EXPECT_EQ(counts.at(1), 12);  // and page_score, top_k
  EXPECT_EQ(counts.at(-1), 4);  // embedding, final norm, LM head, sample
}

TEST(StepGraph, RetroLaunchesTheSameKernelsAsQuest) {
  const DecodeConfig quest = tiny_config("quest", 1);
  const DecodeConfig retro = tiny_config("quest", 4);
  const StepGraph a = build_decode_step(quest, demand_without_unseen(quest));
  const StepGraph b = build_decode_step(retro, demand_without_unseen(retro));
  ASSERT_EQ(a.size(), b.size());
  for (StepGraph::Vertex v = 0; v < a.size(); ++v) {
    EXPECT_STREQ(a.op(v).name, b.op(v).name);
    EXPECT_EQ(a.op(v).layer, b.op(v).layer);
  }
}

TEST(StepGraph, EveryOperationWaitsForTheOneBeforeItOnTheComputeStream) {
  const DecodeConfig config = tiny_config("quest", 2);
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  EXPECT_EQ(boost::num_edges(graph.boost()), graph.size() - 1);
  for (StepGraph::Vertex v = 1; v < graph.size(); ++v) EXPECT_TRUE(boost::edge(v - 1, v, graph.boost()).second);
}

// Shapes of method.md's cost formulas at b = 3, N = 1000, P = 16, Hq = 8, Hk = 2, d = 8, k = ceil(63 * 0.25) = 16.
TEST(StepGraph, AttentionTrafficFollowsTheFormulas) {
  const DecodeConfig config = tiny_config("quest");
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  const Op& dense = find_op(graph, "attention", 0);
  // 2 * b * Hk * N * d * 2 bytes
  EXPECT_EQ(dense.bytes_moved().kv_read, 2 * 3 * 2 * 1000 * 8 * 2);
  // 15 full pages and the one being filled, which holds 1000 - 62 * 16 = 8 tokens: 248 tokens
  const Op& sparse = find_op(graph, "attention", 1);
  EXPECT_EQ(sparse.bytes_moved().kv_read, 2 * 3 * 2 * 248 * 8 * 2);
  // 4 * b * Hq * d * tokens
  EXPECT_EQ(sparse.flops(), 4.0 * 3 * 8 * 8 * 248);
  // Summaries: 2 * b * Hk * Np * d * 2 bytes
  EXPECT_EQ(find_op(graph, "page_score", 1).bytes_moved().summary_read, 2 * 3 * 2 * 63 * 8 * 2);
  EXPECT_EQ(find_op(graph, "page_score", 1).flops(), 4.0 * 3 * 8 * 63 * 8);
  // Append: 2 * b * Hk * d * 2 bytes
  EXPECT_EQ(find_op(graph, "rope_append", 1).bytes_moved().kv_write, 2 * 3 * 2 * 8 * 2);
}

TEST(StepGraph, WeightsAreReadOnce) {
  const DecodeConfig config = tiny_config("full");
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  // Per layer: norms 2 * 64; QKV 64 * (8 + 2 * 2) * 8; O 64 * 64; MLP 3 * 64 * 128. Outside: 3 embedding rows, norm,
  // head.
  const std::int64_t layer = 2 * 64 + 64 * 96 + 64 * 64 + 3 * 64 * 128;
  EXPECT_EQ(total_traffic(graph).weight_read, 2 * (4 * layer + 3 * 64 + 64 + 64 * 100));
}

// w = 4, dense_layers = 1: layer 0 runs b rows; from l0 = 1 on there are 4 b; keys are overwritten in layers > l0 only.
TEST(StepGraph, OlderRowsEnterAtTheFirstSparseLayer) {
  const DecodeConfig config = tiny_config("quest", 4);
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  EXPECT_EQ(shape_of<MatmulShape>(graph, "qkv_proj", 0).m, 3);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "qkv_proj", 1).m, 12);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "down_proj", 3).m, 12);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "lm_head", -1).m, 3);
  EXPECT_EQ(shape_of<RmsNormShape>(graph, "input_norm", 1).rows_from_cache, 9);
  EXPECT_EQ(shape_of<RmsNormShape>(graph, "input_norm", 1).rows_to_cache, 3);
  EXPECT_EQ(shape_of<RmsNormShape>(graph, "input_norm", 2).rows_from_cache, 0);
  EXPECT_EQ(shape_of<RopeAppendShape>(graph, "rope_append", 1).rows_overwritten, 0);
  EXPECT_EQ(shape_of<RopeAppendShape>(graph, "rope_append", 2).rows_overwritten, 9);
  // Output cache: (w-1) * b * Hq * (d * 2 + 4) bytes read and as many written.
  const Traffic merge = find_op(graph, "attention_merge", 2).bytes_moved();
  EXPECT_EQ(merge.output_cache_read, 3 * 3 * 8 * (8 * 2 + 4));
  EXPECT_EQ(merge.output_cache_write, 3 * 3 * 8 * (8 * 2 + 4));
}

TEST(StepGraph, AttentionThatMergesIsOneLaunchWithTheBytesOfTwo) {
  DecodeConfig config = tiny_config("quest", 4);
  config.sm_count = 1;  // one split
  const StepGraph apart = build_decode_step(config, demand_without_unseen(config));
  config.merges_in_attention = true;
  const StepGraph together = build_decode_step(config, demand_without_unseen(config));
  EXPECT_EQ(together.size(), apart.size() - static_cast<std::size_t>(config.llm.num_layers));
  for (const int layer : {0, 2}) {
    Op attention = find_op(apart, "attention", layer);
    Op merge = find_op(apart, "attention_merge", layer);
    Op both = find_op(together, "attention", layer);
    EXPECT_EQ(both.flops(), attention.flops() + merge.flops());
    // One split: its float32 results, one of head_dim + 1 words per row and head, are neither written nor read.
    auto& shape = std::get<AttentionShape>(both.shape);
    EXPECT_EQ(shape.num_splits, std::get<AttentionShape>(attention.shape).num_splits);
    shape.num_splits = 1;
    std::get<AttentionShape>(attention.shape).num_splits = 1;
    std::get<AttentionMergeShape>(merge.shape).num_splits = 1;
    const std::int64_t partial = shape.rows * shape.num_q_heads * (shape.head_dim + 1) * 4;
    Traffic expected = attention.bytes_moved();
    expected += merge.bytes_moved();
    expected.other_read -= partial;
    expected.other_write -= partial;
    EXPECT_EQ(both.bytes_moved(), expected);
    // Three splits: written, read, and written over.
    AttentionShape split = shape;
    split.num_splits = 3;
    EXPECT_EQ(split.bytes_moved().other_read, both.bytes_moved().other_read + 3 * partial);
    EXPECT_EQ(split.bytes_moved().other_write, both.bytes_moved().other_write + 2 * 3 * partial);
  }
}

TEST(StepGraph, AttentionMergesWhereItsBlocksRunAtOnce) {
  EXPECT_TRUE(attention_can_merge(DType::bf16, 64, 8, 16, 132));  // 128 blocks on 132 SMs
  EXPECT_FALSE(attention_can_merge(DType::bf16, 64, 8, 17, 132));
  EXPECT_TRUE(attention_can_merge(DType::fp8_e4m3, 64, 1000, 1, 132));  // nobody waits
  EXPECT_FALSE(attention_can_merge(DType::bf16, 65, 8, 1, 132));        // rows of two blocks
  EXPECT_FALSE(attention_can_merge(DType::f32, 4, 8, 1, 132));
}

TEST(StepGraph, CarryingOlderRowsRunsThemEverywhere) {
  DecodeConfig config = tiny_config("quest", 4);
  config.carry_older_rows_through_dense_layers = true;
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  EXPECT_EQ(shape_of<EmbeddingShape>(graph, "embedding", -1).rows, 12);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "qkv_proj", 0).m, 12);
  EXPECT_EQ(shape_of<RmsNormShape>(graph, "input_norm", 1).rows_from_cache, 0);
  EXPECT_EQ(shape_of<RopeAppendShape>(graph, "rope_append", 0).rows_overwritten, 9);
}

TEST(StepGraph, UnseenPagesCostFlopsButNoKvReads) {  // I6
  const DecodeConfig config = tiny_config("quest", 3);
  StepDemand demand = demand_without_unseen(config);
  const StepGraph none = build_decode_step(config, demand);
  demand.layers[2].unseen_visits = 10;
  const StepGraph some = build_decode_step(config, demand);
  EXPECT_EQ(total_traffic(some), total_traffic(none));
  // 4 * G * d * P per visit: G = 4, d = 8, P = 16
  EXPECT_EQ(total_flops(some) - total_flops(none), 4.0 * 4 * 8 * 16 * 10);
}

TEST(StepGraph, MaskingComputesEveryRowOnEveryPage) {
  DecodeConfig config = tiny_config("quest", 3);
  config.mask_unseen_rows = true;
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  EXPECT_EQ(find_op(graph, "attention", 1).flops(), 3 * 4.0 * 3 * 8 * 8 * 248);
}

TEST(StepGraph, OutputCacheBytesDoNotDependOnContext) {  // I5
  DecodeConfig config = tiny_config("quest", 4);
  const Traffic at_1000 = total_traffic(build_decode_step(config, demand_without_unseen(config)));
  config.context = 4000;
  const Traffic at_4000 = total_traffic(build_decode_step(config, demand_without_unseen(config)));
  EXPECT_EQ(at_1000.output_cache_read, at_4000.output_cache_read);
  EXPECT_EQ(at_1000.output_cache_write, at_4000.output_cache_write);
}

TEST(StepGraph, FullBudgetIsDenseAttention) {
  const DecodeConfig quest = tiny_config("quest", 1, 1.0);
  const DecodeConfig full = tiny_config("full", 1);
  const Traffic a = total_traffic(build_decode_step(quest, demand_without_unseen(quest)));
  const Traffic b = total_traffic(build_decode_step(full, demand_without_unseen(full)));
  EXPECT_EQ(a.kv_read, b.kv_read);
  EXPECT_EQ(a.weight_read, b.weight_read);
}

// Tokens 0..999 in pages of 16: the newest is 999 on page 62. One older token (998) is on page 62: 8 keys. 8 older
// tokens (991..998) start on page 61 (976..991): 16 + 8 keys.
TEST(StepGraph, TouchedPagesAreThoseOfTheOverwrittenTokens) {
  EXPECT_EQ(touched_pages(1000, 16, 0).pages, 0);
  EXPECT_EQ(touched_pages(1000, 16, 1).pages, 1);
  EXPECT_EQ(touched_pages(1000, 16, 1).keys, 6);
  EXPECT_TRUE(touched_pages(1000, 16, 1).holds_current);
  EXPECT_EQ(touched_pages(1000, 16, 8).pages, 2);
  EXPECT_EQ(touched_pages(1000, 16, 8).keys, 15);
  // 993 tokens: the newest, 992, is alone on page 62; the older one is on page 61.
  EXPECT_EQ(touched_pages(993, 16, 1).pages, 1);
  EXPECT_EQ(touched_pages(993, 16, 1).keys, 15);
  EXPECT_FALSE(touched_pages(993, 16, 1).holds_current);
  EXPECT_EQ(touched_pages(1, 16, 5).pages, 0);
}

TEST(StepGraph, WideningReadsNoKeysAgain) {
  DecodeConfig config = tiny_config("quest", 4);
  const StepGraph recompute = build_decode_step(config, demand_without_unseen(config));
  config.widen_summaries = true;
  const StepGraph widen = build_decode_step(config, demand_without_unseen(config));
  EXPECT_EQ(shape_of<RopeAppendShape>(recompute, "rope_append", 2).keys_recomputed, 3 * 4);
  EXPECT_EQ(shape_of<RopeAppendShape>(widen, "rope_append", 2).keys_recomputed, 0);
}

TEST(StepGraph, SlidingWindowLayersReadTheirWindowOnly) {
  DecodeConfig config = tiny_config("full");
  config.llm.layer_sliding_window = {0, 100, 0, 0};
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  // Tokens 900..999 lie on pages 56 (896..911) to 62: 7 pages.
  EXPECT_EQ(shape_of<AttentionShape>(graph, "attention", 1).tokens_loaded, 3 * 2 * 100);
  EXPECT_EQ(shape_of<AttentionShape>(graph, "attention", 1).pages_loaded, 3 * 2 * 7);
}

TEST(StepGraph, TensorParallelSplitsHeadsAndAddsTwoAllReducesPerLayer) {
  DecodeConfig config = tiny_config("quest");
  config.tensor_parallel_size = 4;  // 2 KV heads over 4 GPUs: replicated, one each
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  EXPECT_EQ(ops_per_layer(graph).at(1), 14);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "qkv_proj", 1).n, (2 + 2 * 1) * 8);
  EXPECT_EQ(shape_of<AttentionShape>(graph, "attention", 0).tokens_loaded, 3 * 1 * 1000);
  // 3 rows of 64 bf16 values; a ring sends 2 * 3/4 of them.
  EXPECT_EQ(find_op(graph, "mlp_all_reduce", 1).bytes_moved().interconnect, 2 * (3 * 64 * 2) * 3 / 4);
}

TEST(StepGraph, MixtureOfExpertsReadsTheDistinctExperts) {
  DecodeConfig config = tiny_config("full");
  config.llm.moe = {.num_experts = 8, .experts_per_token = 2, .intermediate_size = 32};
  config.llm.layer_is_moe = {0, 1, 1, 1};
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  // 8 * (1 - (3/4)^3) = 4.625 distinct experts for 3 rows, to the nearest: 5
  EXPECT_EQ(expected_distinct_experts(config.llm.moe, 3), 5);
  EXPECT_EQ(expected_distinct_experts(config.llm.moe, 1), 2);
  EXPECT_EQ(expected_distinct_experts(config.llm.moe, 1000), 8);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "experts_down_proj", 1).weight_bytes(), 5 * 32 * 64 * 2);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "down_proj", 0).weight_bytes(), 128 * 64 * 2);
}

TEST(StepGraph, UpdateEqualsBuildingAnew) {
  const DecodeConfig config = tiny_config("quest", 3);
  StepDemand demand = demand_without_unseen(config);
  StepGraph graph = build_decode_step(config, demand);
  demand.context = 1010;
  demand.layers[3].unseen_visits = 7;
  demand.layers[3].unseen_union = 5;
  update_decode_step(graph, config, demand);
  const StepGraph anew = build_decode_step(config, demand);
  EXPECT_EQ(total_traffic(graph), total_traffic(anew));
  EXPECT_EQ(total_flops(graph), total_flops(anew));
  EXPECT_EQ(boost::num_edges(graph.boost()), boost::num_edges(anew.boost()));
}

TEST(StepGraph, UpdateRebuildsWhenTheContextOutgrowsTheBudget) {
  DecodeConfig config = tiny_config("quest");
  config.policy = make_policy("quest", {.budget_tokens = 1008});  // 63 pages: everything at 1,000 tokens
  StepDemand demand = demand_without_unseen(config);
  StepGraph graph = build_decode_step(config, demand);
  const std::size_t before = graph.size();
  demand.context = 1100;
  update_decode_step(graph, config, demand);
  EXPECT_EQ(graph.size(), before + 2 * 3);  // scoring and top-k in three sparse layers
}

TEST(StepGraph, PrefillReadsWeightsOnceAndScoresHalfTheSquare) {
  const DecodeConfig config = tiny_config("full");
  const StepGraph graph = build_prefill(config, 100, 0);
  const Op& attention = find_op(graph, "prefill_attention", 0);
  // 4 * b * Hq * d * n (n + 1) / 2
  EXPECT_EQ(attention.flops(), 4.0 * 3 * 8 * 8 * 100 * 101 / 2);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "qkv_proj", 2).m, 300);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "lm_head", -1).m, 3);
}

TEST(StepGraph, SlidingWindowPrefillSeesTheWindow) {
  // 5 new tokens after 0, window 3: 1 + 2 + 3 + 3 + 3 = 12 pairs
  EXPECT_EQ((PrefillAttentionShape{.batch = 1, .new_tokens = 5, .sliding_window = 3}.visible_pairs()), 12);
  // 3 new tokens after 2, window 4: positions 2, 3, 4 see 3, 4, 4
  EXPECT_EQ(
      (PrefillAttentionShape{.batch = 1, .new_tokens = 3, .context_before = 2, .sliding_window = 4}.visible_pairs()),
      11);
}

struct BadConfig {
  const char* field;
  void (*spoil)(DecodeConfig&);
};

class DecodeConfigValidation : public ::testing::TestWithParam<BadConfig> {};

TEST_P(DecodeConfigValidation, NamesTheField) {
  DecodeConfig config = tiny_config("quest");
  GetParam().spoil(config);
  try {
    validate(config);
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_EQ(std::string(error.what()).rfind(GetParam().field, 0), 0U) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Fields, DecodeConfigValidation,
                         ::testing::Values(BadConfig{"batch", [](DecodeConfig& c) { c.batch = 0; }},
                                           BadConfig{"window", [](DecodeConfig& c) { c.window = 0; }},
                                           BadConfig{"window", [](DecodeConfig& c) { c.window = kMaxWindow + 1; }},
                                           BadConfig{"page_size", [](DecodeConfig& c) { c.page_size = 0; }},
                                           BadConfig{"context", [](DecodeConfig& c) { c.context = 0; }},
                                           BadConfig{"context", [](DecodeConfig& c) { c.context = 4097; }},
                                           BadConfig{"dense_layers", [](DecodeConfig& c) { c.dense_layers = 5; }},
                                           BadConfig{"tensor_parallel_size",
                                                     [](DecodeConfig& c) { c.tensor_parallel_size = 3; }},
                                           BadConfig{"policy", [](DecodeConfig& c) { c.policy = nullptr; }}));

}  // namespace
}  // namespace retrosim
