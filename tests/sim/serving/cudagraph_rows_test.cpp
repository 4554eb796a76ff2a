#include "sim/serving/cudagraph_rows.h"

#include <gtest/gtest.h>

#include <string_view>

#include "model/gpu_profile.h"
#include "sim/serving/exact_step.h"

namespace retrosim {
namespace {

TEST(CudagraphRows, AreTheSizesThatVllmCaptures) {
  for (const auto& [rows, captured] : {std::pair{1, 1},
                                       {2, 2},
                                       {3, 4},
                                       {5, 8},
                                       {8, 8},
                                       {33, 40},
                                       {249, 256},
                                       {256, 256},
                                       {257, 272},
                                       {497, 512},
                                       {512, 512},
                                       {513, 513},
                                       {4000, 4000}}) {
    EXPECT_EQ(cudagraph_rows(rows), captured) << rows;
  }
}

const Op& op_of(const StepGraph& graph, std::string_view name) {
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
    if (graph.op(v).name == name) return graph.op(v);
  }
  throw std::logic_error("no such operation");
}

// 33 sequences: products run on 40 rows, attention and the head on 33; the same when the graph is used again.
TEST(CudagraphRows, PassThroughProductsButNotThroughAttentionOrTheHead) {
  ServingConfig config;
  config.decode.llm = find_llm_spec("smollm2-135m");
  config.decode.policy = make_policy("full", {});
  config.decode.dense_layers = 0;
  config.cudagraph_padding = true;
  ExactStep step(config, std::make_shared<const Pricer>(find_gpu_profile("h100-sxm")));
  for (const std::int64_t context : {100, 200}) {
    const StepGraph& graph = step.decode_graph(33, context);
    EXPECT_EQ(std::get<MatmulShape>(op_of(graph, "qkv_proj").shape).m, 40);
    EXPECT_EQ(std::get<RmsNormShape>(op_of(graph, "input_norm").shape).rows, 40);
    EXPECT_EQ(std::get<AttentionShape>(op_of(graph, "attention").shape).batch, 33);
    EXPECT_EQ(std::get<MatmulShape>(op_of(graph, "lm_head").shape).m, 33);
  }
  EXPECT_EQ(std::get<MatmulShape>(op_of(step.decode_graph(40, 100), "qkv_proj").shape).m, 40);
  config.cudagraph_padding = false;
  ExactStep plain(config, std::make_shared<const Pricer>(find_gpu_profile("h100-sxm")));
  EXPECT_EQ(std::get<MatmulShape>(op_of(plain.decode_graph(33, 100), "qkv_proj").shape).m, 33);
}

}  // namespace
}  // namespace retrosim
