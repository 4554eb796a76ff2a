// Which tiles a block works through, and where their pages are.
#pragma once

#include <cstdint>

#include "kernels/attention/kv_tile.cuh"

namespace retrosim::kernels::cuda {

/// Where a launch that merges its splits itself writes the rows; AttentionMergeArgs has the shapes.
struct AttentionRowsOut {
  __nv_bfloat16* out;  // null: the launch leaves partial results
  float* lse;
  __nv_bfloat16* cache_values;
  float* cache_lse;
  std::int32_t* last_loaded;
  int slots;
};

/// What attention kernels are given; PagedAttentionArgs has the shapes.
struct AttentionKernelParams {
  const void* q;
  const char* kv;
  const std::int32_t* page_table;
  const std::int32_t* context_lens;
  const std::int32_t* num_rows;
  const std::int32_t* selected;
  const std::int32_t* counts;
  const std::int32_t* expected_counts;
  const std::int32_t* last_loaded;
  float* partial_values;  // or the exchange, where rows are merged here
  float* partial_lse;
  AttentionRowsOut rows_out;
  int max_pages;
  int k_max;
  int window;
  int num_q_heads;
  int num_kv_heads;
  int num_lists;
  int group;          // query heads per list
  int inverse_group;  // ceil(65536 / group)
  int page_size;
  int page_shift;
  int num_splits;
  int row_blocks;  // blocks that share a list's rows
  int row_tiles;   // of 16 rows, per block
  int leading;     // warps of the first row tile
  int following;   // warps of each further one
  int stages;      // tiles in flight per leading warp
  int sliding_window;
  bool masked;
  bool early_queries;  // q may be read before the previous kernel has ended
  float scale_log2;    // k_scale * log2(e) / sqrt(head_dim)
  float v_scale;
};

/// Tiles [begin, end) of one sequence's list, and how to find their pages.
struct TileRange {
  const std::int32_t* selected;  // of this list; null: every page from first_page on
  const std::int32_t* page_table;
  const std::int32_t* last_loaded;  // of this list, or null
  int first_page;
  int num_pages;
  int begin;
  int end;
  int page_shift;
  int blocks_per_page;  // eight-token blocks between one (page, head) and the next head
  int num_kv_heads;
  int kv_head;

  /// Logical pages of tile `index` (two of page size 8), -1: none.
  __device__ int2 pages(int index) const {
    if (index >= end) return {-1, -1};
    if (page_shift >= 4) {
      const int page = index >> (page_shift - 4);
      return {selected != nullptr ? selected[page] : first_page + page, -1};
    }
    const int page = 2 * index;
    const bool second = page + 1 < num_pages;
    if (selected != nullptr) return {selected[page], second ? selected[page + 1] : -1};
    return {first_page + page, second ? first_page + page + 1 : -1};
  }

  __device__ TileEntry entry(int2 page, int index) const {
    TileEntry entry{{0, 0}, {TileEntry::kMissing, TileEntry::kMissing}, {-1, -1}};
    if (page.x < 0) return entry;
    const int sub = page_shift >= 4 ? index & ((1 << (page_shift - 4)) - 1) : 0;
    entry.block[0] = (page_table[page.x] * num_kv_heads + kv_head) * blocks_per_page + 2 * sub;
    entry.start[0] = (page.x << page_shift) + sub * kTileTokens;
    if (last_loaded != nullptr) entry.loaded[0] = last_loaded[page.x];
    if (page_shift >= 4) {
      entry.block[1] = entry.block[0] + 1;
      entry.start[1] = entry.start[0] + 8;
      entry.loaded[1] = entry.loaded[0];
    } else if (page.y >= 0) {
      entry.block[1] = (page_table[page.y] * num_kv_heads + kv_head) * blocks_per_page;
      entry.start[1] = page.y << page_shift;
      if (last_loaded != nullptr) entry.loaded[1] = last_loaded[page.y];
    }
    return entry;
  }
};

/// `count`: pages on the list, where there is one.
__device__ inline TileRange tile_range(const AttentionKernelParams& p, int sequence, int list, int split, int context,
                                       int count) {
  TileRange range{};
  const int pages = (context + p.page_size - 1) >> p.page_shift;
  const std::int64_t row = static_cast<std::int64_t>(sequence) * p.num_lists + list;
  range.page_table = p.page_table + static_cast<std::int64_t>(sequence) * p.max_pages;
  range.page_shift = p.page_shift;
  range.blocks_per_page = 2 * p.page_size / 8;
  range.num_kv_heads = p.num_kv_heads;
  range.kv_head = list * p.num_kv_heads / p.num_lists;
  range.num_pages = pages;
  int tiles = 0;
  if (p.selected != nullptr) {
    range.selected = p.selected + row * p.k_max;
    range.num_pages = count;
    if (p.last_loaded != nullptr) range.last_loaded = p.last_loaded + row * p.max_pages;
    tiles = p.page_shift >= 4 ? range.num_pages << (p.page_shift - 4) : (range.num_pages + 1) / 2;
  } else {
    if (p.sliding_window > 0) {
      const int oldest = context - p.window - p.sliding_window + 1;
      range.first_page = oldest > 0 ? oldest >> p.page_shift : 0;
      range.num_pages -= range.first_page;
    }
    tiles = (context - (range.first_page << p.page_shift) + kTileTokens - 1) / kTileTokens;
  }
  // 32-bit divisions: at most 2^16 tiles (1 Mi tokens) and 256 splits.
  const auto total = static_cast<unsigned>(tiles);
  const auto splits = static_cast<unsigned>(p.num_splits);
  range.begin = static_cast<int>(total * static_cast<unsigned>(split) / splits);
  range.end = static_cast<int>(total * static_cast<unsigned>(split + 1) / splits);
  return range;
}

/// Waits for the list's count.
__device__ inline TileRange tile_range(const AttentionKernelParams& p, int sequence, int list, int split, int context) {
  const int count = p.selected != nullptr ? p.counts[sequence * p.num_lists + list] : 0;
  return tile_range(p, sequence, list, split, context, count);
}

/// Where lane `source`'s tile lies, and which halves it has.
__device__ inline TileEntry shuffle_place(const TileEntry& entry, int source) {
  TileEntry out{};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    out.block[half] = __shfl_sync(0xffffffffU, entry.block[half], source);
    out.start[half] = __shfl_sync(0xffffffffU, entry.start[half], source);
  }
  return out;
}

/// Lane `source`'s {start 0, start 1, loaded 0, loaded 1}.
__device__ inline int4 shuffle_visibility(const TileEntry& entry, int source) {
  return {__shfl_sync(0xffffffffU, entry.start[0], source), __shfl_sync(0xffffffffU, entry.start[1], source),
          __shfl_sync(0xffffffffU, entry.loaded[0], source), __shfl_sync(0xffffffffU, entry.loaded[1], source)};
}

/// A tile's entry out of shared memory. With `other_readers`, the slot is released by lane 0, which then reads for all,
/// so that its release orders the read before the next write.
__device__ inline int4 read_entry(const int4* from, bool other_readers, int lane) {
  if (!other_readers) return *from;
  int4 entry{};
  if (lane == 0) entry = *from;
  return {__shfl_sync(0xffffffffU, entry.x, 0), __shfl_sync(0xffffffffU, entry.y, 0),
          __shfl_sync(0xffffffffU, entry.z, 0), __shfl_sync(0xffffffffU, entry.w, 0)};
}

/// Two neighbouring bf16 elements of a list's query row, 0 for rows that do not exist.
__device__ inline std::uint32_t load_query_pair(const AttentionKernelParams& p, int sequence, int list, int query_rows,
                                                int row, int head_dim, int element) {
  const int age = (row * p.inverse_group) >> 16;
  if (age >= query_rows) return 0;
  const int head = list * p.group + row - age * p.group;
  const std::int64_t offset =
      ((static_cast<std::int64_t>(sequence) * p.window + age) * p.num_q_heads + head) * head_dim + element;
  return *reinterpret_cast<const std::uint32_t*>(static_cast<const __nv_bfloat16*>(p.q) + offset);
}

/// Hides from the row at position `last` what it must not see: two tokens of each half of a tile, lane's quad at 2
/// quad.
__device__ inline void mask_scores(const AttentionKernelParams& p, const int4& entry, int age, int last, int quad,
                                   float* s0, float* s1) {
  const bool sees_all = age == 0 || p.selected == nullptr;
  const int last0 = (sees_all || entry.z < last ? last : -1) - entry.x - quad * 2;
  const int last1 = (sees_all || entry.w < last ? last : -1) - entry.y - quad * 2;
  if (last0 < 0) s0[0] = -INFINITY;
  if (last0 < 1) s0[1] = -INFINITY;
  if (last1 < 0) s1[0] = -INFINITY;
  if (last1 < 1) s1[1] = -INFINITY;
  if (p.sliding_window == 0) return;
  const int first0 = last - p.sliding_window + 1 - entry.x - quad * 2;
  const int first1 = last - p.sliding_window + 1 - entry.y - quad * 2;
  if (first0 > 0) s0[0] = -INFINITY;
  if (first0 > 1) s0[1] = -INFINITY;
  if (first1 > 0) s1[0] = -INFINITY;
  if (first1 > 1) s1[1] = -INFINITY;
}

}  // namespace retrosim::kernels::cuda
