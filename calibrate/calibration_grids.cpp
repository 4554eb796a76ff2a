#include "calibrate/calibration_grids.h"

#include "calibrate/latency_table_fit.h"

namespace retrosim {
namespace {

using Grid = std::vector<LatencyTable::Axis>;

const std::vector<double> kRows{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048};
const std::vector<double> kHidden{512, 1024, 2048, 4096, 8192};
const std::vector<double> kLists{1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
const std::vector<double> kPages{16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
const std::vector<double> kQueryRows{1, 4, 8, 16, 32, 64, 128, 256};

const std::vector<double> kWaves{.1, .5, 1, 1.03, 1.5, 2, 4};
const std::vector<double> kWindows{1, 2, 4, 8, 16, 32};
const std::vector<double> kRopeBlocks{.02, .1, .25, .5, 1, 2, 4, 8, 16, 32, 64};

/// Of an operation that adds up a product's partial results.
Grid product_reader(const std::vector<double>& splits, const std::vector<double>& columns) {
  return {axis_at(ShapeAxis::splits, splits), axis_at(ShapeAxis::rows, kRows), axis_at(ShapeAxis::columns, columns)};
}

Grid block(const std::vector<double>& columns) {
  return {axis_at(ShapeAxis::rows, kRows), axis_at(ShapeAxis::columns, columns)};
}

}  // namespace

std::vector<Grid> calibration_grids(OpKind kind) {
  switch (kind) {
    case OpKind::matmul:
      // 16 and 17 rows: from the kernel of few rows to cuBLASLt. The second table is of the former alone.
      return {{axis_at(ShapeAxis::kernel_rows, {1, 2, 4, 8, 16, 17, 32, 64, 128, 256, 512, 1024, 2048}),
               axis_at(ShapeAxis::columns, {512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 160000}),
               axis_at(ShapeAxis::depth, {512, 1024, 2048, 4096, 8192, 16384, 32768})},
              {axis_at(ShapeAxis::stages_per_block, {0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}),
               axis_at(ShapeAxis::blocks_per_sm, {0, .02, .1, .25, .5, .75, .9, 1}),
               axis_at(ShapeAxis::kernel_rows, {1, 2, 4, 8, 16})}};
    case OpKind::attention:
      return {
          {axis_at(ShapeAxis::blocks_per_sm, {.02, .06, .125, .25, .5, .75, .9, 1, 1.03, 1.25, 1.5, 2, 2.05, 3, 4, 8}),
           axis_at(ShapeAxis::tokens_per_block, {32, 64, 128, 256, 512, 1024, 2048, 4096, 16384, 65536}),
           axis_at(ShapeAxis::row_tiles, {1, 2, 3, 4})},
          {axis_at(ShapeAxis::follow_ratio, {0, 2, 4, 8, 16}), axis_at(ShapeAxis::unseen_share, {0, .1, .25, .5, 1}),
           axis_at(ShapeAxis::tokens_per_block, {64, 256, 1024, 8192})},
          {axis_at(ShapeAxis::unseen_per_page, {0, .1, .25, .5, 1, 2, 4, 8, 16}),
           axis_at(ShapeAxis::query_rows, kQueryRows)},
          {axis_at(ShapeAxis::page_size, {8, 16, 32, 64}), axis_at(ShapeAxis::head_dim, {64, 128}),
           axis_at(ShapeAxis::tokens_per_block, {64, 1024, 16384})},
          {axis_at(ShapeAxis::head_dim, {64, 128}), axis_at(ShapeAxis::query_rows, kQueryRows),
           axis_at(ShapeAxis::tokens_per_block, {64, 256, 1024, 8192})},
          {axis_at(ShapeAxis::merged_rows, {0, 1, 4, 16, 64}), axis_at(ShapeAxis::splits, {1, 2, 4, 16, 64}),
           axis_at(ShapeAxis::tokens_per_block, {64, 512, 8192})},
          {axis_at(ShapeAxis::narrow_kv, {0, 1}), axis_at(ShapeAxis::head_dim, {64, 128}),
           axis_at(ShapeAxis::row_tiles, {1, 2, 3, 4})},
          {axis_at(ShapeAxis::narrow_kv, {0, 1}), axis_at(ShapeAxis::blocks_per_sm, kWaves),
           axis_at(ShapeAxis::row_tiles, {1, 2, 3, 4})},
          {axis_at(ShapeAxis::head_dim, {64, 128}), axis_at(ShapeAxis::blocks_per_sm, kWaves),
           axis_at(ShapeAxis::row_tiles, {1, 2, 3, 4})}};
    case OpKind::embedding: return {block(kHidden)};
    case OpKind::rms_norm: return {product_reader({0, 1, 2, 4, 8}, kHidden)};
    case OpKind::silu_mul: return {product_reader({1, 2, 4}, {1024, 2048, 4096, 8192, 16384, 32768})};
    case OpKind::sample: return {product_reader({1, 2, 4}, {8192, 16384, 32768, 65536, 131072})};
    case OpKind::rope_append:
      return {{axis_at(ShapeAxis::blocks_per_sm, kRopeBlocks), axis_at(ShapeAxis::window, kWindows),
               axis_at(ShapeAxis::head_dim, {64, 128})},
              {axis_at(ShapeAxis::tokens_per_list, {0, 4, 8, 16, 32, 64}), axis_at(ShapeAxis::window, kWindows)},
              {axis_at(ShapeAxis::pages_per_list, {0, 1}), axis_at(ShapeAxis::blocks_per_sm, kRopeBlocks)},
              {axis_at(ShapeAxis::qk_norm, {0, 1}), axis_at(ShapeAxis::blocks_per_sm, kRopeBlocks),
               axis_at(ShapeAxis::window, kWindows)},
              {axis_at(ShapeAxis::splits, {1, 2, 4})}};
    case OpKind::page_score:
      return {{axis_at(ShapeAxis::lists, kLists), axis_at(ShapeAxis::pages_per_list, kPages),
               axis_at(ShapeAxis::query_rows, {1, 2, 4, 8})},
              {axis_at(ShapeAxis::head_dim, {64, 128}), axis_at(ShapeAxis::query_rows, {1, 4, 8})}};
    case OpKind::top_k:
      return {{axis_at(ShapeAxis::lists, kLists), axis_at(ShapeAxis::pages_per_list, kPages),
               axis_at(ShapeAxis::selected_per_list, {8, 32, 128, 512, 2048, 8192})}};
    case OpKind::attention_merge:
      return {{axis_at(ShapeAxis::rows, kRows), axis_at(ShapeAxis::columns, kHidden),
               axis_at(ShapeAxis::splits, {1, 2, 4, 8, 16, 32, 64, 128})},
              {axis_at(ShapeAxis::unseen_per_page, {0, .4, .8, 1}), axis_at(ShapeAxis::head_dim, {64, 128}),
               axis_at(ShapeAxis::rows, kRows)}};
    case OpKind::prefill_attention:
      return {{axis_at(ShapeAxis::rows, {64, 256, 1024, 4096, 16384}),
               axis_at(ShapeAxis::depth, {64, 256, 1024, 4096, 16384})}};
    default: return {};
  }
}

std::string calibration_regime(const Op& op, int sm_count) {
  if (const auto* product = std::get_if<MatmulShape>(&op.shape)) {
    if (product->m <= 16) return "rows 1 to 16";
    return product->m <= 128 ? "rows 17 to 128" : "rows above 128";
  }
  if (const auto* attention = std::get_if<AttentionShape>(&op.shape)) {
    const bool one_wave = attention->batch * attention->num_kv_heads * attention->num_splits <= sm_count;
    return std::string(one_wave ? "one wave of blocks" : "more than a wave") +
           (attention->window > 1 ? ", window above 1" : ", window 1");
  }
  return "all";
}

}  // namespace retrosim
