#include "model/attention_warps.h"

#include <gtest/gtest.h>

#include <cmath>

namespace retrosim {
namespace {

AttentionShape shape_of(std::int64_t batch, std::int64_t window, std::int64_t tokens_per_list) {
  return {.batch = batch,
          .num_q_heads = 32,
          .num_kv_heads = 8,
          .head_dim = 128,
          .page_size = 16,
          .window = window,
          .rows = batch * window,
          .pages_loaded = batch * 8 * tokens_per_list / 16,
          .tokens_loaded = batch * 8 * tokens_per_list,
          .tracks_last_loaded = window > 1};
}

// 8 blocks on 132 SMs: each has one to itself, and eight warps lead.
TEST(AttentionWarps, ABlockWithAnSmToItselfHasEightLeadingWarps) {
  const AttentionShape shape = shape_of(1, 1, 1000);
  const AttentionWarps warps = attention_warps(shape, 132);
  EXPECT_EQ(warps.blocks, 8);
  EXPECT_EQ(warps.leading, 8);
  EXPECT_EQ(warps.row_tiles, 1);
  EXPECT_DOUBLE_EQ(attention_serial_tokens(shape, 132), 1000);
}

// 136 blocks on 132 SMs: two smaller ones side by side, four warps each, so every token takes twice as long although
// most SMs have one block.
TEST(AttentionWarps, OneBlockTooManyHalvesTheWarps) {
  const AttentionShape shape = shape_of(17, 1, 1000);
  EXPECT_EQ(attention_warps(shape, 132).leading, 4);
  EXPECT_EQ(attention_warps(shape, 132).blocks_per_sm, 2);
  EXPECT_DOUBLE_EQ(attention_serial_tokens(shape, 132), 2000);
  // 528 blocks are two waves of 264.
  EXPECT_DOUBLE_EQ(attention_serial_tokens(shape_of(66, 1, 1000), 132), 4000);
}

// Window 16 of a group of 4: 64 rows, four tiles, one block. Of twelve warps four follow, rounded up to two for each of
// three tiles: six lead.
TEST(AttentionWarps, FurtherRowTilesHaveWarpsThatFollow) {
  AttentionShape shape = shape_of(1, 16, 1000);
  const AttentionWarps warps = attention_warps(shape, 132);
  EXPECT_EQ(warps.row_tiles, 4);
  EXPECT_EQ(warps.following, 2);
  EXPECT_EQ(warps.leading, 6);
  const double seen = attention_serial_tokens(shape, 132);
  EXPECT_NEAR(seen, 8000 * std::pow(std::pow(1.0 / 6, 4) + std::pow(0.42 / 2, 4), 0.25), 1e-6);
  shape.unseen_visits = 15 * shape.pages_loaded / 2;
  shape.unseen_union = shape.pages_loaded / 2;
  EXPECT_NEAR(attention_serial_tokens(shape, 132), 8000 * std::pow(std::pow(1.0 / 6, 4) + std::pow(0.52 / 2, 4), 0.25),
              1e-6);
}

// Group 4 with window 32: 128 rows, eight tiles, two blocks of four that each pass over the list.
TEST(AttentionWarps, MoreRowTilesThanABlockHoldsMakeMoreBlocks) {
  const AttentionWarps warps = attention_warps(shape_of(1, 32, 1000), 132);
  EXPECT_EQ(warps.row_tiles, 4);
  EXPECT_EQ(warps.blocks, 16);
}

}  // namespace
}  // namespace retrosim
