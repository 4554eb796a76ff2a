// How a block of our decode attention shares its work among its warps, and how long that makes the busiest one's share.
#pragma once

#include "model/ops/attention.h"

namespace retrosim {

/// What one launch runs (kernels/attention/attention_cuda.cu, share_out_warps): query rows lie in tiles of 16. Leading
/// warps share the keys and values for the first row tile; a further tile has warps of its own, which follow.
struct AttentionWarps {
  double blocks = 1;         // (sequence, KV head, split, group of row tiles)
  double blocks_per_sm = 1;  // that run side by side
  double row_tiles = 1;      // of a block
  double leading = 8;        // warps of its first row tile
  double following = 1;      // warps of each further one
};
AttentionWarps attention_warps(const AttentionShape& shape, int sm_count);

/// Of a block with more than one row tile: serial time of a following warp over that of a leading one; else 0.
double attention_follow_ratio(const AttentionShape& shape, int sm_count);
/// Loaded pages that some older query has not seen, as a share.
double attention_unseen_share(const AttentionShape& shape);

/// Serial work of one SM, in tokens of head size 128 that a block of eight leading warps passes:
///
///   tokens per block * 8 * max(1, blocks / (SMs * blocks side by side)) * (96 + head size) / (96 + 128)
///     * (leading^-4 + ((0.42 + 0.2 * unseen) / following)^4)^(1/4)
///
/// where the second term, of blocks with more than one row tile, is what a following warp spends: on every token for
/// deciding whether its rows have seen it, and on the share `unseen` that the tile's newest row has not. Without whole
/// numbers of waves: blocks that are bound by memory do not end together, so the last wave fills the first one's gaps.
/// The two costs, beside a leading warp's, are what fits an H100's samples best (bf16 and fp8, head sizes 64 and 128).
/// The share of a token's time that does not grow with the head size is that of blocks bound by it (fp8, window 1: 7.0
/// ns at 64 and 9.8 ns at 128).
double attention_serial_tokens(const AttentionShape& shape, int sm_count);

}  // namespace retrosim
