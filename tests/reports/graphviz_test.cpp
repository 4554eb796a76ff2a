#include "reports/graphviz.h"

#include <gmock/gmock.h>

#include <regex>

#include "model/llm_spec.h"

namespace retrosim {
namespace {

StepGraph step_of(const char* policy, int window) {
  DecodeConfig config;
  config.llm = find_llm_spec("smollm2-135m");
  config.policy = make_policy(policy, {});
  config.window = window;
  config.context = 1024;
  return build_decode_step(config, demand_without_unseen(config));
}

std::ptrdiff_t count(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  return std::distance(std::sregex_iterator(text.begin(), text.end(), regex), std::sregex_iterator());
}

TEST(Graphviz, DrawsEveryOperationAndEdge) {
  const StepGraph graph = step_of("quest", 2);
  const std::string text = graphviz_text(graph, GraphLayers::all);
  EXPECT_EQ(count(text, R"(op\d+ \[label)"), static_cast<std::ptrdiff_t>(graph.size()));
  EXPECT_EQ(count(text, "->"), static_cast<std::ptrdiff_t>(boost::num_edges(graph.boost())));
  EXPECT_EQ(count(text, "subgraph cluster_"), 30);  // SmolLM2-135M has 30 layers
}

// The first two layers are dense, the others alike: two boxes, or three where the first sparse layer differs.
TEST(Graphviz, DrawsLayersOfOneKindOnce) {
  const std::string text = graphviz_text(step_of("quest", 1), GraphLayers::collapsed);
  EXPECT_THAT(text, ::testing::HasSubstr("layers 0-1 (mean of 2)"));
  EXPECT_THAT(text, ::testing::HasSubstr("layers 2-29 (mean of 28)"));
  EXPECT_EQ(count(text, "subgraph cluster_"), 2);
  EXPECT_EQ(count(text, "style=dashed"), 2);  // from each kind's last operation to its first
  EXPECT_EQ(count(text, "page_score"), 1);
}

TEST(Graphviz, FullAttentionHasOneKindOfLayer) {
  const std::string text = graphviz_text(step_of("full", 1), GraphLayers::collapsed);
  EXPECT_THAT(text, ::testing::HasSubstr("layers 0-29 (mean of 30)"));
  EXPECT_EQ(count(text, "page_score"), 0);
}

}  // namespace
}  // namespace retrosim
