// Operations that each policy adds to a sparse layer, by hand, and what holds of all of them.
//
// tiny_config: batch 3, 8 query and 2 KV heads of 8, 1,000 tokens in 63 pages of 16 (8 on the last). A quarter is 16
// pages per KV head, 15 * 16 + 8 = 248 tokens; 3 * 2 * 248 = 1,488 (token, head) pairs of 32 bytes of K and V = 47,616
// bytes. Attention weights are 3 * 8 * 248 * 2 = 11,904 bytes.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "model/error.h"
#include "model/step_graph.h"
#include "tests/model/tiny_llm.h"

namespace retrosim {
namespace {

using testing::tiny_config;

DecodeConfig config_of(std::string_view policy, PolicyParams params = {}, int window = 1) {
  DecodeConfig config = tiny_config("full", window);
  if (params.budget_tokens == 0 && params.budget == PolicyParams{}.budget) params.budget = 0.25;
  config.policy = make_policy(policy, params);
  return config;
}

struct Layer {
  explicit Layer(const DecodeConfig& config, std::int64_t recalled = 0, std::int64_t position = -1) {
    StepDemand demand = demand_without_unseen(config);
    demand.position = position;
    for (LayerDemand& layer : demand.layers) layer.recalled_pages = recalled;
    graph = build_decode_step(config, demand);
  }
  StepGraph::Vertex find(std::string_view name, int layer = 2) const {
    for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
      if (graph.op(v).layer == layer && graph.op(v).name == name) return v;
    }
    throw std::logic_error("no operation " + std::string(name));
  }
  const Op& op(std::string_view name, int layer = 2) const { return graph.op(find(name, layer)); }
  Traffic bytes(std::string_view name) const { return op(name).bytes_moved(); }
  bool waits(std::string_view later, std::string_view earlier, int earlier_layer = 2) const {
    return boost::edge(find(earlier, earlier_layer), find(later), graph.boost()).second;
  }
  std::set<std::string> names() const {
    std::set<std::string> all;
    for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
      if (graph.op(v).layer == 2) all.insert(graph.op(v).name);
    }
    return all;
  }
  StepGraph graph;
};

/// What a sparse layer has beyond a layer of full attention.
std::set<std::string> extra_operations(const DecodeConfig& config, std::int64_t recalled = 0,
                                       std::int64_t position = -1) {
  std::set<std::string> extra = Layer(config, recalled, position).names();
  for (const std::string& name : Layer(config_of("full")).names()) extra.erase(name);
  return extra;
}

using Names = std::set<std::string>;

TEST(StreamingOperations, ReleasedRebuildsAndRotatesTheCache) {
  EXPECT_EQ(extra_operations(config_of("streaming")), Names{});
  const Layer layer(config_of("streaming", {.variant = PolicyVariant::released}));
  for (const char* name : {"rebuild_keys", "rebuild_values", "rotate_cached_keys"}) {
    EXPECT_EQ(layer.bytes(name).kv_read, 47616 / 2);
    EXPECT_EQ(layer.bytes(name).kv_write, 47616 / 2);
  }
  EXPECT_EQ(layer.op("rotate_cached_keys").flops(), 3.0 * 1488 * 8);
}

TEST(TovaOperations, WeightsLeaveTheChipAndReleasedGathersTheCache) {
  const Layer ideal(config_of("tova"));
  EXPECT_EQ(extra_operations(config_of("tova")), (Names{"weights_mean", "evict_top_k"}));
  EXPECT_EQ(ideal.bytes("weights_mean").other_read, 11904);
  EXPECT_EQ(ideal.bytes("weights_mean").other_write, 11904 + 3 * 248 * 4);
  const Layer released(config_of("tova", {.variant = PolicyVariant::released}));
  EXPECT_EQ(released.bytes("gather_keys").kv_read + released.bytes("gather_values").kv_read, 47616);
  EXPECT_EQ(released.bytes("gather_keys").kv_write + released.bytes("gather_values").kv_write, 47616);
  EXPECT_LT(released.find("attention_merge"), released.find("weights_mean"));  // selection follows attention
}

TEST(H2oOperations, ScoresAccumulatePerQueryHead) {
  const Layer layer(config_of("h2o"));
  // float32 scores 3 * 8 * 248 * 4 = 23,808 bytes
  EXPECT_EQ(layer.bytes("accumulate_scores").other_read, 11904 + 23808);
  EXPECT_EQ(layer.bytes("accumulate_scores").other_write, 11904 + 23808);
  EXPECT_EQ(layer.bytes("overwrite_victim").kv_write, 3 * 32 * 2);
  const Layer released(config_of("h2o", {.variant = PolicyVariant::released}));
  EXPECT_EQ(released.bytes("copy_kept_keys").kv_read + released.bytes("copy_kept_values").kv_read, 47616);
}

TEST(SnapKvOperations, NoneAndReleasedReadsAtTheWidthOfTheQueryHeads) {
  EXPECT_EQ(extra_operations(config_of("snapkv")), Names{});
  EXPECT_EQ(Layer(config_of("snapkv")).bytes("attention").kv_read, 47616);
  const Layer released(config_of("snapkv", {.variant = PolicyVariant::released}));
  EXPECT_EQ(released.bytes("attention").kv_read, 4 * 47616);  // G = 4
  EXPECT_EQ(released.bytes("repeat_kv").kv_write, 3 * 6 * 32);
  EXPECT_EQ(released.op("attention").flops(), Layer(config_of("snapkv")).op("attention").flops());
}

TEST(KeyformerOperations, ThreePassesOverTheScores) {
  const Layer layer(config_of("keyformer"));
  EXPECT_EQ(layer.bytes("gumbel_softmax").other_read, 23808);
  EXPECT_EQ(layer.bytes("accumulate_scores").other_read, 2 * 23808);
  const Layer released(config_of("keyformer", {.variant = PolicyVariant::released}));
  EXPECT_EQ(released.bytes("gather_keys").kv_write + released.bytes("gather_values").kv_write, 47616);
}

TEST(MorphKvOperations, FusesTheLogitsOfTheRecentQueriesAndReleasedSynchronises) {
  const Layer layer(config_of("morphkv"));
  EXPECT_EQ(layer.bytes("fuse_logits").other_read, 32 * 11904);
  const Layer released(config_of("morphkv", {.variant = PolicyVariant::released}));
  EXPECT_EQ(released.bytes("select_logits").other_write, 32 * 11904);
  EXPECT_EQ(released.bytes("select_keys").kv_read + released.bytes("select_values").kv_read, 47616);
  int waits = 0;
  for (StepGraph::Vertex v = 0; v < released.graph.size(); ++v) {
    waits += released.graph.op(v).layer == 2 && released.graph.op(v).stream == Stream::host ? 1 : 0;
  }
  EXPECT_EQ(waits, 3);
}

TEST(ReuseOperations, RanksOnlyWhenItMakesANewList) {
  const DecodeConfig config = config_of("reuse");
  EXPECT_EQ(extra_operations(config, 0, 999), Names{});
  EXPECT_EQ(extra_operations(config, 0, 1000), (Names{"page_score", "top_k"}));
  const Layer quest(config_of("quest"));
  EXPECT_EQ(Layer(config, 0, 1000).bytes("page_score"), quest.bytes("page_score"));
}

TEST(ArkvaleOperations, IdsGoToTheHostAndPagesComeBackBeforeAttention) {
  const Layer layer(config_of("arkvale"), 12);  // 12 pages in all heads: 6 in each, one copy for both heads
  EXPECT_EQ(layer.bytes("page_score"), Layer(config_of("quest")).bytes("page_score"));
  EXPECT_EQ(layer.bytes("score_mean").other_read, 3 * 63 * 8 * 2);
  EXPECT_EQ(layer.bytes("recall_ids").device_to_host, 4 * 3 * 16);
  EXPECT_EQ(layer.bytes("page_recall").host_to_device, 12 * 16 * 32);
  EXPECT_EQ(std::get<HostToDeviceShape>(layer.op("page_recall").shape).transfers, 6);
  EXPECT_EQ(layer.bytes("page_backup").device_to_host, 3 * 2 * 32);
  EXPECT_TRUE(layer.waits("recall_ids", "top_k"));
  EXPECT_TRUE(layer.waits("host_sync", "recall_ids"));
  EXPECT_TRUE(layer.waits("page_recall", "host_sync"));
  EXPECT_TRUE(layer.waits("attention", "page_recall"));
  EXPECT_EQ(layer.op("page_recall").stream, Stream::copy_in);
  // Nothing to recall: attention waits for the host, which knows that.
  const Layer none(config_of("arkvale"), 0);
  EXPECT_EQ(none.names().count("page_recall"), 0U);
  EXPECT_TRUE(none.waits("attention", "host_sync"));
  // A page in host memory is copied again while one of its tokens still changes: w tokens a step.
  EXPECT_EQ(Layer(config_of("arkvale", {}, 4), 12).bytes("page_backup").device_to_host, 4 * 3 * 2 * 32);
}

TEST(PqCacheOperations, CodesOfTheNextLayerComeWhileThisOneRuns) {
  const Layer layer(config_of("pqcache"), 12);
  // 3 * 2 * 1,000 vectors of 2 codes of 6 bits
  EXPECT_EQ(layer.bytes("codes_of_next_layer").host_to_device, 9000);
  EXPECT_EQ(layer.op("codes", 1).bytes_moved().host_to_device, 9000);
  EXPECT_TRUE(layer.waits("pq_scores", "codes_of_next_layer", 1));
  EXPECT_EQ(layer.op("pq_tables").flops(), 2.0 * 3 * 8 * 64 * 8);
  EXPECT_EQ(layer.bytes("pq_scores").summary_read, 9000);
  EXPECT_EQ(layer.bytes("pq_scores").other_write, 3 * 8 * 1000 * 4);
  EXPECT_EQ(layer.bytes("miss_ids").device_to_host, 12 * 16 * 4);
  EXPECT_EQ(layer.bytes("host_gather").host_memory, 2 * 12 * 16 * 32);
  EXPECT_EQ(layer.bytes("token_recall").host_to_device, 12 * 16 * 32);
  EXPECT_TRUE(layer.waits("token_recall", "host_gather"));
  EXPECT_TRUE(layer.waits("attention", "token_recall"));
  EXPECT_EQ(layer.names().count("codes_of_next_layer"), 1U);
  EXPECT_THROW(layer.find("codes_of_next_layer", 3), std::logic_error);  // the last layer
  EXPECT_EQ(layer.op("encode_key").flops(), 2.0 * 3 * 2 * 64 * 8);
  const Layer released(config_of("pqcache", {.variant = PolicyVariant::released}), 12);
  EXPECT_EQ(released.bytes("codes_of_next_layer").host_to_device, 8 * 3 * 2 * 1000 * 2);
  EXPECT_EQ(released.bytes("repeat_kv").kv_write, 4 * 47616);
  EXPECT_EQ(released.bytes("attention").kv_read, 4 * 47616);
}

TEST(MagicPigOperations, TheHostAttendsWhileTheGpuDoesItsPart) {
  const Layer layer(config_of("magicpig"));
  EXPECT_EQ(layer.op("lsh_hash").flops(), 2.0 * 24 * 8 * 1500);  // 3 * 8 queries
  EXPECT_EQ(layer.bytes("codes_and_queries").device_to_host, 24 * (150 * 4 + 8 * 2));
  // Hit counts 1,000 bytes, round(150 * 1,000 / 1,024) = 146 ids of 2 bytes; 248 keys and values of 8 * 2 bytes.
  EXPECT_EQ(layer.bytes("host_sampled_attention").host_memory, 24 * (1000 + 292 + 248 * 32));
  EXPECT_EQ(layer.op("host_sampled_attention").flops(), 4.0 * 24 * 248 * 8);
  EXPECT_EQ(layer.bytes("attention").kv_read, 3 * 2 * 324 * 32);
  EXPECT_EQ(layer.bytes("host_outputs").host_to_device, 24 * (16 + 4));
  EXPECT_TRUE(layer.waits("merge_host_outputs", "host_outputs"));
  EXPECT_FALSE(layer.waits("attention", "host_outputs"));
  EXPECT_FALSE(layer.waits("attention", "host_sampled_attention"));
}

TEST(MagicPigOperations, RetroIsNotDefinedOnIt) {
  try {
    validate(config_of("magicpig", {}, 2));
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("importance-weighted"), std::string::npos) << error.what();
  }
}

TEST(IceCacheOperations, TheHostSearchesGathersAndCopiesInOnePiece) {
  const Layer layer(config_of("icecache"), 12);
  EXPECT_EQ(layer.bytes("queries").device_to_host, 3 * 8 * 8 * 2);
  // 30 keys at each of ceil(ln 62.5 / ln 33.3) = 2 levels for 24 query heads
  EXPECT_EQ(layer.bytes("tree_search").host_memory, 24 * 60 * 8 * 4);
  EXPECT_EQ(layer.op("tree_search").flops(), 2.0 * 24 * 60 * 8);
  EXPECT_EQ(layer.bytes("host_gather").host_memory, 2 * 12 * 16 * 32);
  EXPECT_EQ(std::get<HostToDeviceShape>(layer.op("page_recall").shape).transfers, 1);
  EXPECT_TRUE(layer.waits("scatter_pages", "page_recall"));
  // IceCache(r): layers 1 to 3 are sparse, the first searches for the others.
  const Layer anchored(config_of("icecache", {.options = {{"search_every_layers", 3}}}), 12);
  EXPECT_EQ(anchored.names().count("tree_search"), 0U);
  EXPECT_NO_THROW(anchored.find("tree_search", 1));
}

TEST(LServeOperations, HalfOfTheHeadsStream) {
  const DecodeConfig config = config_of("lserve");
  EXPECT_EQ(extra_operations(config, 0, 999), Names{});
  EXPECT_EQ(extra_operations(config, 0, 1000),
            (Names{"page_score", "logical_page_max", "top_k", "append_newest_page"}));
  const Layer layer(config, 0, 1000);
  EXPECT_EQ(layer.bytes("page_score").summary_read, 2 * 3 * 63 * 8 * 2);  // one head of two
  // One head reads its 248 tokens, the other 128 + 256 + 16.
  EXPECT_EQ(layer.bytes("attention").kv_read, 3 * (248 + 400) * 32);
}

struct Case {
  std::string policy;
  PolicyVariant variant;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.policy << ' ' << name_of(c.variant); }

std::vector<Case> every_variant() {
  std::vector<Case> all;
  for (const std::string& name : policy_names()) {
    for (const PolicyVariant variant : make_policy(name, {})->variants()) all.push_back({name, variant});
  }
  return all;
}

class EveryVariant : public ::testing::TestWithParam<Case> {
 protected:
  DecodeConfig config(int window = 1, double budget = 0.25) const {
    return config_of(GetParam().policy, {.budget = budget, .variant = GetParam().variant}, window);
  }
  int largest_window() const { return GetParam().policy == "magicpig" ? 1 : 4; }
};
INSTANTIATE_TEST_SUITE_P(All, EveryVariant, ::testing::ValuesIn(every_variant()), [](const auto& param_info) {
  return param_info.param.policy + "_" + std::string(name_of(param_info.param.variant));
});

TEST_P(EveryVariant, EveryOperationWaitsInTheQueueOfItsKind) {
  for (const int window : {1, largest_window()}) {
    const Layer layer(config(window), 12, 1000);
    for (StepGraph::Vertex v = 0; v < layer.graph.size(); ++v) {
      const Op& op = layer.graph.op(v);
      const Stream expected = op.kind() == OpKind::host_to_device   ? Stream::copy_in
                              : op.kind() == OpKind::device_to_host ? Stream::copy_out
                              : op.kind() == OpKind::host_compute   ? Stream::host
                                                                    : Stream::compute;
      EXPECT_EQ(op.stream, expected) << op.name;
      const Traffic bytes = op.bytes_moved();
      EXPECT_GE(bytes.hbm_read(), 0) << op.name;
      EXPECT_GE(bytes.hbm_write(), 0) << op.name;
      EXPECT_GE(op.flops(), 0) << op.name;
      // Work on another queue waits for something: it belongs to its place in the layer.
      if (expected != Stream::compute) {
        EXPECT_GT(boost::in_degree(v, layer.graph.boost()), 0U) << op.name;
      }
      for (const auto& edge : boost::make_iterator_range(boost::in_edges(v, layer.graph.boost()))) {
        EXPECT_LT(boost::source(edge, layer.graph.boost()), v);  // topological
      }
    }
  }
}

TEST_P(EveryVariant, UpdatingAStepIsBuildingIt) {
  const DecodeConfig c = config(largest_window());
  StepDemand first = demand_without_unseen(c);
  first.position = 1000;
  StepDemand second = first;
  second.context = 1001;
  for (LayerDemand& layer : second.layers) {
    layer.tokens_loaded += 6;
    layer.recalled_pages = 24;
  }
  StepGraph updated = build_decode_step(c, first);
  update_decode_step(updated, c, second);
  const StepGraph built = build_decode_step(c, second);
  ASSERT_EQ(updated.size(), built.size());
  for (StepGraph::Vertex v = 0; v < built.size(); ++v) {
    EXPECT_STREQ(updated.op(v).name, built.op(v).name);
    EXPECT_EQ(updated.op(v).bytes_moved(), built.op(v).bytes_moved()) << built.op(v).name;
    EXPECT_EQ(boost::in_degree(v, updated.boost()), boost::in_degree(v, built.boost())) << built.op(v).name;
  }
}

// Conservation laws: attention with a full budget reads what dense attention reads, and a window reads no more KV.
// Those that attend elsewhere are named: magicpig's host, lserve's streaming heads, and caches repeated to query heads.
TEST_P(EveryVariant, AFullBudgetReadsWhatDenseReads) {
  const DecodeConfig c = config(1, 1.0);
  const std::int64_t dense = Layer(config_of("full")).bytes("attention").kv_read;
  const std::int64_t read = Layer(c).bytes("attention").kv_read;
  if (GetParam().policy == "magicpig") {
    EXPECT_EQ(read, 3 * 2 * 324 * 32);
  } else if (GetParam().policy == "lserve") {
    EXPECT_EQ(read, dense / 2 + 3 * 400 * 32);
  } else if (GetParam().policy == "snapkv" && GetParam().variant == PolicyVariant::released) {
    EXPECT_EQ(read, 4 * dense);
  } else {
    EXPECT_EQ(read, dense);
  }
  // Nothing to choose, nothing to recall.
  if (GetParam().policy != "magicpig") {
    EXPECT_EQ(total_traffic(Layer(c).graph).host_to_device, 0);
  }
  EXPECT_EQ(demand_without_unseen(c).layers[2].recalled_pages, 0);
}

TEST_P(EveryVariant, AWindowReadsNoMoreKvAndComputesMore) {
  if (GetParam().policy == "magicpig") GTEST_SKIP() << "no window is defined on magicpig";
  const Layer one(config(1), 12, 1000);
  const Layer four(config(4), 12, 1000);
  EXPECT_EQ(four.bytes("attention").kv_read, one.bytes("attention").kv_read);  // I6
  EXPECT_EQ(total_traffic(four.graph).host_to_device, total_traffic(one.graph).host_to_device);
  EXPECT_GT(total_flops(four.graph), total_flops(one.graph));
  EXPECT_EQ(total_traffic(one.graph).output_cache_read, 0);
}

TEST_P(EveryVariant, TwoGpusShareTheKvHeads) {
  DecodeConfig c = config();
  const Layer whole(c, 12, 1000);
  c.tensor_parallel_size = 2;
  const Layer half(c, 12, 1000);
  // The GPU with the most dense heads: lserve's one of two.
  if (GetParam().policy == "lserve") {
    EXPECT_EQ(half.bytes("attention").kv_read, 3 * 248 * 32);
  } else {
    EXPECT_EQ(2 * half.bytes("attention").kv_read, whole.bytes("attention").kv_read);
  }
}

}  // namespace
}  // namespace retrosim
