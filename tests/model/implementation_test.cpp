#include "model/implementation.h"

#include <gtest/gtest.h>

#include "model/decode_config.h"
#include "model/error.h"
#include "model/pricing.h"
#include "model/step_graph.h"

namespace retrosim {
namespace {

DecodeConfig quest(std::string_view implementation) {
  DecodeConfig config;
  config.llm = find_llm_spec("llama-2-7b");
  config.llm.max_position = 16384;
  config.policy = make_policy("quest", {.budget_tokens = 1024});
  config.context = 16384;
  config.implementation = find_implementation(implementation, "implementation");
  return config;
}

std::int64_t count(const StepGraph& graph, std::string_view name) {
  std::int64_t found = 0;
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) found += graph.op(v).name == name ? 1 : 0;
  return found;
}

const Op& first(const StepGraph& graph, OpKind kind) {
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
    if (graph.op(v).kind() == kind) return graph.op(v);
  }
  throw std::logic_error("no such operation");
}

TEST(Implementation, TheDefaultIsOneGraphWithNothingUnfused) {
  const StepGraph graph = build_decode_step(quest("graph"), demand_without_unseen(quest("graph")));
  EXPECT_EQ(count(graph, "unfused"), 0);
  EXPECT_EQ(Implementation{}.host_issue_s, 0);
  EXPECT_THROW(find_implementation("tensorrt", "implementation"), InputError);
}

TEST(Implementation, UnfusedOperationsAreLaunchesOfEveryLayer) {
  const DecodeConfig config = quest("hf-patched");
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  EXPECT_EQ(count(graph, "unfused"), 32 * config.implementation.unfused_ops);
}

TEST(Implementation, AnUnsplitScoreIsHeldBackByItsBlocks) {
  // 1,024 pages x 32 heads x min and max x 128 x 2 bytes = 16.8 MB over 32 blocks of 19.5 GB/s: 26.9 us, more than the
  // H100's 3.35 TB/s takes.
  const DecodeConfig config = quest("hf-patched");
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  const Pricer pricer(find_gpu_profile("h100-sxm"));
  const Price price = pricer.price(first(graph, OpKind::page_score));
  // Within 1 %: the corner of the roofline is rounded.
  EXPECT_NEAR(price.body_s / (1024.0 * 32 * 2 * 128 * 2 / (32 * 19.5e9)), 1, 0.01);
}

TEST(Implementation, FourBitWeightsStreamAtTheirOwnRate) {
  DecodeConfig config = quest("graph");
  config.llm.weight_dtype = DType::int4;
  const Pricer pricer(find_gpu_profile("h100-sxm"));
  const auto down = [&](const DecodeConfig& asked) {
    const StepGraph graph = build_decode_step(asked, demand_without_unseen(asked));
    return pricer.price(first(graph, OpKind::matmul)).body_s;
  };
  const double graph_s = down(config);
  config.implementation = find_implementation("hf-patched", "implementation");
  EXPECT_NEAR(down(config) / graph_s, 1 / config.implementation.int4_bandwidth_share, 0.01);
}

}  // namespace
}  // namespace retrosim
