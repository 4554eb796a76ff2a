#include "model/attention_warps.h"

#include <algorithm>
#include <cmath>

namespace retrosim {
namespace {

constexpr std::int64_t kRowsPerTile = 16;
constexpr std::int64_t kMaxRowTiles = 4;  // of a block
constexpr std::int64_t kMaxLeading = 8;   // warps
constexpr double kPassOver = 0.42;        // of a leading warp's time per token
constexpr double kUnseen = 0.2;           // likewise, in addition
constexpr double kHeadFreeElements = 96;  // of a token's time, what does not depend on the head size, in elements

/// What an SM's registers allow: a block that has it to itself, and each of two.
struct WarpLimits {
  std::int64_t alone = 12;
  std::int64_t crowded = 6;
};

WarpLimits warp_limits(std::int64_t head_dim) {
  if (head_dim > 128) return {.alone = 8, .crowded = 4};
  return {.alone = 12, .crowded = head_dim > 64 ? 6 : 7};
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Share of the loaded tokens that the newest row of the first further tile has not seen. The unseen sets nest and
/// shrink with age roughly geometrically: from |U_1| through the mean over ages halfway.
double unseen_share(const AttentionShape& s) {
  if (s.masked || s.window <= 1 || s.pages_loaded <= 0) return s.masked ? 1 : 0;
  const double mean = static_cast<double>(s.unseen_visits) / static_cast<double>(s.window - 1);
  const double largest = std::max(mean, static_cast<double>(s.unseen_union));
  if (!(largest > 0)) return 0;
  const double age = static_cast<double>(std::max<std::int64_t>(1, kRowsPerTile / s.query_group()));
  const double newest = largest * std::pow(mean / largest, std::min(1.0, 2 * age / static_cast<double>(s.window)));
  return std::min(1.0, newest / static_cast<double>(s.pages_loaded));
}

/// Of a following warp, per token of its block, in a leading warp's time per token.
double follow_time(const AttentionShape& s, const AttentionWarps& w) {
  return (kPassOver + kUnseen * unseen_share(s)) / w.following;
}

}  // namespace

AttentionWarps attention_warps(const AttentionShape& s, int sm_count) {
  const std::int64_t tiles = ceil_div(std::max<std::int64_t>(1, s.window * s.query_group()), kRowsPerTile);
  const std::int64_t groups = ceil_div(tiles, kMaxRowTiles);
  const std::int64_t row_tiles = ceil_div(tiles, groups);
  const std::int64_t further = row_tiles - 1;
  const std::int64_t blocks = std::max<std::int64_t>(1, s.batch * s.num_kv_heads * s.num_splits) * groups;
  AttentionWarps w{.blocks = static_cast<double>(blocks), .row_tiles = static_cast<double>(row_tiles)};
  const WarpLimits limits = warp_limits(s.head_dim);
  std::int64_t leading = 0;
  std::int64_t following = 1;
  const auto share_out = [&](std::int64_t warps, std::int64_t most) {
    if (further > 0) following = ceil_div(warps / 3, further);
    leading = std::min(most, warps - further * following);
  };
  const bool crowded = blocks > sm_count;
  if (further > 0 && (s.masked || !s.tracks_last_loaded)) {  // every row tile needs every token
    leading = following = std::min(kMaxLeading, limits.alone / row_tiles);
    w.leading = w.following = static_cast<double>(leading);
    return w;
  }
  if (crowded) share_out(limits.crowded, kMaxLeading / 2);
  if (!crowded || leading < kMaxLeading / 2 - 1) share_out(limits.alone, kMaxLeading);
  w.blocks_per_sm = leading <= kMaxLeading / 2 ? 2 : 1;
  w.leading = static_cast<double>(leading);
  w.following = static_cast<double>(following);
  return w;
}

double attention_unseen_share(const AttentionShape& s) {
  return static_cast<double>(s.unseen_union) / static_cast<double>(std::max<std::int64_t>(1, s.pages_loaded));
}

double attention_follow_ratio(const AttentionShape& s, int sm_count) {
  const AttentionWarps w = attention_warps(s, sm_count);
  return w.row_tiles > 1 ? follow_time(s, w) * w.leading : 0;
}

double attention_serial_tokens(const AttentionShape& s, int sm_count) {
  const AttentionWarps w = attention_warps(s, sm_count);
  const double blocks = static_cast<double>(std::max<std::int64_t>(1, s.batch * s.num_kv_heads * s.num_splits));
  const double tokens = static_cast<double>(s.tokens_loaded) / blocks;
  const double waves = std::max(1.0, w.blocks / (w.blocks_per_sm * std::max(1, sm_count)));
  double slowest = 1 / w.leading;
  if (w.row_tiles > 1) {
    slowest = std::pow(std::pow(slowest, 4) + std::pow(follow_time(s, w), 4), 0.25);
  }
  const double per_token = (kHeadFreeElements + static_cast<double>(s.head_dim)) / (kHeadFreeElements + 128);
  return tokens * 8 * waves * slowest * per_token;
}

}  // namespace retrosim
