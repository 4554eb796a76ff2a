#include "model/few_row_product.h"

#include <gtest/gtest.h>

#include <tuple>

#include "model/step_graph.h"
#include "tests/model/tiny_llm.h"

namespace retrosim {
namespace {

using testing::tiny_config;

template <class Shape>
const Shape& shape_of(const StepGraph& graph, std::string_view name, int layer) {
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
    if (graph.op(v).name == name && graph.op(v).layer == layer) return std::get<Shape>(graph.op(v).shape);
  }
  throw std::logic_error("no such operation");
}

/// Widths that cut into 1 (hidden, of QKV, gate and up, head), 2 (attended) and 3 parts (intermediate).
DecodeConfig wide_config(int window) {
  DecodeConfig config = tiny_config("quest", window);
  config.llm.hidden_size = 4096;
  config.llm.num_q_heads = 64;
  config.llm.num_kv_heads = 8;
  config.llm.head_dim = 128;
  config.llm.intermediate_size = 12'288;
  config.few_row_products = true;
  return config;
}

// k = 512 * columns; 8 columns are a unit's most.
TEST(FewRowProduct, AUnitHoldsAtMostEightStages) {
  for (const auto& [k, splits, stages] :
       {std::tuple{8, 1, 1}, {4096, 1, 8}, {4097, 2, 5}, {8192, 2, 8}, {14'336, 4, 7}, {28'672, 7, 8}}) {
    const FewRowCut cut = few_row_cut(100, k);
    EXPECT_EQ(cut.tiles, 7);
    EXPECT_EQ(cut.splits, splits) << k;
    EXPECT_EQ(cut.stages, stages) << k;
    EXPECT_GE(cut.splits * cut.stages * kFewRowStageColumns, k);
  }
}

TEST(FewRowProduct, BlocksAreFewestForTheirUnits) {
  for (const std::int64_t n : {16, 2112, 2113, 4096, 28'672, 128'256}) {
    const FewRowCut cut = few_row_cut(n, 4096);
    EXPECT_LE(cut.blocks(132), 132) << n;
    EXPECT_GE(cut.blocks(132) * cut.units_per_block(132), cut.units()) << n;
    EXPECT_LT((cut.blocks(132) - 1) * cut.units_per_block(132), cut.units()) << n;
  }
}

TEST(FewRowProduct, ReadersFindWhatTheProductBeforeThemLeft) {
  const DecodeConfig config = wide_config(4);  // 12 rows
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  EXPECT_EQ(shape_of<MatmulShape>(graph, "qkv_proj", 2).splits, 1);
  EXPECT_EQ(shape_of<RopeAppendShape>(graph, "rope_append", 2).product_splits, 1);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "o_proj", 2).splits, 2);
  EXPECT_EQ(shape_of<RmsNormShape>(graph, "post_attention_norm", 2).product_splits, 2);
  EXPECT_EQ(shape_of<SiluMulShape>(graph, "silu_mul", 2).product_splits, 1);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "down_proj", 2).splits, 3);
  EXPECT_EQ(shape_of<RmsNormShape>(graph, "input_norm", 3).product_splits, 3);
  EXPECT_EQ(shape_of<RmsNormShape>(graph, "final_norm", -1).product_splits, 3);
  EXPECT_EQ(shape_of<MatmulShape>(graph, "lm_head", -1).splits, 1);
}

// What is written in parts is read in parts: 4 bytes each, instead of 2 once.
TEST(FewRowProduct, PartsCountAsBytesOfBothOperations) {
  const DecodeConfig config = wide_config(4);
  const StepGraph graph = build_decode_step(config, demand_without_unseen(config));
  const std::int64_t elements = 12 * 4096;
  EXPECT_EQ(shape_of<MatmulShape>(graph, "o_proj", 2).bytes_moved().other_write, 2 * 4 * elements);
  EXPECT_EQ(shape_of<RmsNormShape>(graph, "post_attention_norm", 2).bytes_moved().other_read,
            2 * elements + 2 * 4 * elements);
}

TEST(FewRowProduct, MoreRowsOrOtherKernelsLeaveNoParts) {
  const DecodeConfig many = wide_config(8);  // 24 rows, and 3 in the dense layer with the same weights
  const StepGraph graph = build_decode_step(many, demand_without_unseen(many));
  for (const int layer : {0, 2}) {
    EXPECT_EQ(shape_of<MatmulShape>(graph, "o_proj", layer).splits, 0);
    EXPECT_EQ(shape_of<RmsNormShape>(graph, "post_attention_norm", layer).product_splits, 1);
  }
  EXPECT_EQ(shape_of<MatmulShape>(graph, "lm_head", -1).splits, 1);  // 3 rows

  DecodeConfig library = wide_config(4);
  library.few_row_products = false;
  const StepGraph plain = build_decode_step(library, demand_without_unseen(library));
  EXPECT_EQ(shape_of<MatmulShape>(plain, "down_proj", 2).splits, 0);
  EXPECT_EQ(shape_of<RmsNormShape>(plain, "input_norm", 3).product_splits, 1);

  DecodeConfig two_gpus = wide_config(4);
  two_gpus.tensor_parallel_size = 2;
  const StepGraph reduced = build_decode_step(two_gpus, demand_without_unseen(two_gpus));
  EXPECT_EQ(shape_of<MatmulShape>(reduced, "down_proj", 2).splits, 2);            // 6,144 columns each
  EXPECT_EQ(shape_of<RmsNormShape>(reduced, "input_norm", 3).product_splits, 1);  // what the all-reduce left
}

}  // namespace
}  // namespace retrosim
