// The split-KV kernel. A block takes one sequence, one page list and one share of its tiles. Its query rows lie in
// tiles of 16, row = s * group + head: the first holds the current query's rows, further ones older queries'. Every
// warp keeps one row tile's running softmax over its share of the block's tiles of keys and values: "leading" warps
// share them for the first row tile, each with its own ring of tiles in flight; a further row tile has few warps of its
// own, which read the same rings and pass over what its rows have seen. At the end the warps' results are merged in
// shared memory (merge_warps.cuh), the blocks' in the exchange (merge_rows.cuh) or by kernels/attention_merge.
#pragma once

#include "kernels/attention/kv_tile.cuh"
#include "kernels/attention/merge_rows.cuh"
#include "kernels/attention/merge_warps.cuh"
#include "kernels/attention/tile_range.cuh"
#include "kernels/cuda/launch.h"

namespace retrosim::kernels::cuda {

/// Warps of a block at most: what its registers, 65,536 per SM, allow.
constexpr int max_attention_warps(int head_dim) { return head_dim <= 128 ? 12 : 8; }

/// Shared memory: [leading][stages] tiles, or the merge if that is larger | [row tiles, beyond head size 128] query
/// fragments | entries | barriers. The merge must not touch the barriers.
template <class Kv, int D, KvLoader Loader>
__global__ void __launch_bounds__(max_attention_warps(D) * 32, 1)
    paged_attention(const __grid_constant__ CUtensorMap map, const AttentionKernelParams p) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  if constexpr (Loader == KvLoader::bulk_tensor) return;
#endif
  using Tile = KvTile<Kv, D>;
  using Math = KvMath<Kv>;
  constexpr int kSteps = D / 16;
  constexpr int kOutTiles = D / 8;
  constexpr bool kQueryInRegisters = D <= 128;
  extern __shared__ char shared_raw[];
  char* shared = shared_raw + ((1024 - (shared_address(shared_raw) & 1023)) & 1023);

  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const int warps = static_cast<int>(blockDim.x) >> 5;
  const int quad = lane & 3;
  const int split = static_cast<int>(blockIdx.x);
  const int list = static_cast<int>(blockIdx.y) / p.row_blocks;
  const int block_row0 = (static_cast<int>(blockIdx.y) % p.row_blocks) * (p.row_tiles * 16);
  const int sequence = static_cast<int>(blockIdx.z);
  const bool leads = warp < p.leading;
  const int row_tile = leads ? 0 : 1 + (warp - p.leading) / p.following;
  const int row0 = block_row0 + row_tile * 16;
  const int first_tile = leads ? warp : (warp - p.leading) % p.following;
  const int tile_step = leads ? p.leading : p.following;

  const int slots = p.leading * p.stages;
  auto* query_shared = reinterpret_cast<uint4*>(shared + max(slots * Tile::kBytes, merge_bytes(warps, D)));
  auto* entries = reinterpret_cast<int4*>(query_shared + (kQueryInRegisters ? 0 : p.row_tiles * kSteps * 32));
  auto* barriers = reinterpret_cast<std::uint64_t*>(entries + slots);
  auto* released = barriers + slots;

  if (threadIdx.x == 0) {
    for (int i = 0; i < slots; ++i) {
      barrier_init(shared_address(barriers + i), Loader == KvLoader::bulk_tensor ? 2 : 33);
      barrier_init(shared_address(released + i), static_cast<std::uint32_t>(p.row_tiles));
    }
    barrier_init_fence();
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (Loader == KvLoader::bulk_tensor) prefetch_tensor_map(&map);
#endif
  }
  const int context = p.context_lens[sequence];
  const int position = context - 1;
  const int query_rows = p.num_rows[sequence];

  const auto query_pair = [&](int row, int element) -> std::uint32_t {
    return load_query_pair(p, sequence, list, query_rows, row, D, element);
  };
  const auto query_fragment = [&](int first_row, int step, int of_lane, std::uint32_t(&a)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[i] = query_pair(first_row + (of_lane >> 2) + (i & 1) * 8, Math::query_element(step, i, of_lane & 3));
    }
  };
  std::uint32_t query[kQueryInRegisters ? kSteps : 1][4];
  const auto load_queries = [&] {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) query_fragment(row0, step, lane, query[kQueryInRegisters ? step : 0]);
  };
  if (kQueryInRegisters && p.early_queries) load_queries();
  // The list's pages are read at once with their number, which is nearly always the expected one.
  int count = 0;
  if (p.selected != nullptr) {
    count = p.expected_counts != nullptr ? min(p.expected_counts[sequence], p.k_max) : p.k_max;
  }
  TileRange range = tile_range(p, sequence, list, split, context, count);
  const auto led_tile = [&](int j) { return range.begin + warp + j * p.leading; };
  __syncthreads();
  wait_for_previous_kernel();
  if (block_row0 >= query_rows * p.group) return;
  int2 pages{-1, -1};
  if (leads) pages = range.pages(led_tile(lane));
  if (p.selected != nullptr) {
    const int actual = p.counts[sequence * p.num_lists + list];
    if (actual != count) {
      range = tile_range(p, sequence, list, split, context, actual);
      if (leads) pages = range.pages(led_tile(lane));
    }
  }
  const int tiles = range.end - range.begin;

  // A leading warp's tiles. The entries of 32 at a time lie across its lanes; the next 32 and the pages of the 32 after
  // them are on their way.
  const int led_tiles = leads && tiles > warp ? (tiles - warp + p.leading - 1) / p.leading : 0;
  TileEntry current{};
  TileEntry next{};
  int2 later{-1, -1};
  const auto load = [&](int j, int stage) {
    const TileEntry entry = shuffle_place(current, j & 31);
    const int slot = warp * p.stages + stage;
    const std::uint32_t tile = shared_address(shared) + slot * Tile::kBytes;
    const std::uint32_t barrier = shared_address(barriers + slot);
    if constexpr (Loader == KvLoader::bulk_tensor) {
      if (lane == 0) load_tile_bulk<Kv, D>(tile, barrier, &map, entry, p.page_size);
    } else {
      __syncwarp();
      load_tile_async<Kv, D>(tile, barrier, p.kv, entry, p.page_size, lane);
    }
  };
  // What readers must know of a tile: apart from its load, which must not wait for last_loaded.
  const auto announce = [&](int j, int stage) {
    const int4 entry = shuffle_visibility(current, j & 31);
    const int slot = warp * p.stages + stage;
    if (lane == 0) {
      entries[slot] = entry;
      barrier_arrive(shared_address(barriers + slot));
    }
  };
  const auto issue = [&](int j, int stage) {
    if ((j & 31) == 0) {
      current = next;
      next = range.entry(later, led_tile(j + 32 + lane));
      later = range.pages(led_tile(j + 64 + lane));
    }
    load(j, stage);
    announce(j, stage);
  };
  if (leads) {
    int2 next_pages{-1, -1};
    if (led_tiles > 32) {
      next_pages = range.pages(led_tile(32 + lane));
      later = range.pages(led_tile(64 + lane));
    }
    current = range.entry(pages, led_tile(lane));
    if (led_tiles > 32) next = range.entry(next_pages, led_tile(32 + lane));
    for (int j = 0; j < led_tiles && j < p.stages; ++j) load(j, j);
  }
  // While the first tiles are on their way:
  if constexpr (kQueryInRegisters) {
    if (!p.early_queries) load_queries();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int i = 0; i < 4; ++i) query[step][i] = Math::query_pair(query[step][i]);
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < p.row_tiles * kSteps * 32; i += static_cast<int>(blockDim.x)) {
      std::uint32_t a[4];
      query_fragment(block_row0 + i / (kSteps * 32) * 16, (i / 32) % kSteps, i & 31, a);
      query_shared[i] = {Math::query_pair(a[0]), Math::query_pair(a[1]), Math::query_pair(a[2]),
                         Math::query_pair(a[3])};
    }
    __syncthreads();
  }
  if (leads) {
    for (int j = 0; j < led_tiles && j < p.stages; ++j) announce(j, j);
  }
  allow_next_kernel();

  float out[kOutTiles][4] = {};
  float row_max[2] = {-INFINITY, -INFINITY};  // rows lane / 4 and lane / 4 + 8
  float row_sum[2] = {};

  // With followers a leading warp refills the slot before the one that it has just left, so that they may lag a tile.
  const int lag = p.row_tiles > 1 && p.stages > 1 ? 1 : 0;
  int leader = first_tile % p.leading;  // whose ring this warp's tile is in, and which of its tiles
  int j = first_tile / p.leading;
  int stage = j % p.stages;
  int parity = (j / p.stages) & 1;
  for (int index = first_tile; index < tiles; index += tile_step) {
    const int slot = leader * p.stages + stage;
    const std::uint32_t tile = shared_address(shared) + slot * Tile::kBytes;
    barrier_wait(shared_address(barriers + slot), static_cast<std::uint32_t>(parity));
    const int4 entry = read_entry(entries + slot, p.row_tiles > 1, lane);

    // Older rows that need this tile: the unseen sets nest, so they are rows 1..older.
    int older = query_rows - 1;
    if (p.selected != nullptr && !p.masked) {
      const int older0 = min(position - entry.z - 1, position - entry.x);
      const int older1 = min(position - entry.w - 1, position - entry.y);
      older = p.last_loaded != nullptr ? min(older, max(0, max(older0, older1))) : 0;
    }
    if (row0 < (older + 1) * p.group) {
      float s[2][4] = {};
      Math::template scores<D>(s, tile, lane, [&](int step, std::uint32_t(&a)[4]) {
        if constexpr (kQueryInRegisters) {
#pragma unroll
          for (int i = 0; i < 4; ++i) a[i] = query[step][i];
        } else {
          const uint4 v = query_shared[(row_tile * kSteps + step) * 32 + lane];
          a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
        }
      });

      float new_max[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = row0 + (lane >> 2) + half * 8;
        const int age = (row * p.inverse_group) >> 16;
        float* s0 = &s[0][half * 2];
        float* s1 = &s[1][half * 2];
        mask_scores(p, entry, age, age < query_rows ? position - age : -1, quad, s0, s1);
        float largest = fmaxf(fmaxf(s0[0], s0[1]), fmaxf(s1[0], s1[1]));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, 2));
        new_max[half] = fmaxf(row_max[half], largest * p.scale_log2);
      }
      if (__any_sync(0xffffffffU, new_max[0] > row_max[0] || new_max[1] > row_max[1])) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float factor = new_max[half] == -INFINITY ? 1.0F : exp2_fast(row_max[half] - new_max[half]);
          row_max[half] = new_max[half];
          row_sum[half] *= factor;
#pragma unroll
          for (int i = 0; i < kOutTiles; ++i) {
            out[i][half * 2] *= factor;
            out[i][half * 2 + 1] *= factor;
          }
        }
      }
      const float shift0 = new_max[0] == -INFINITY ? 0.0F : new_max[0];
      const float shift1 = new_max[1] == -INFINITY ? 0.0F : new_max[1];
#pragma unroll
      for (int half = 0; half < 2; ++half) {  // token halves
        s[half][0] = exp2_fast(fmaf(s[half][0], p.scale_log2, -shift0));
        s[half][1] = exp2_fast(fmaf(s[half][1], p.scale_log2, -shift0));
        s[half][2] = exp2_fast(fmaf(s[half][2], p.scale_log2, -shift1));
        s[half][3] = exp2_fast(fmaf(s[half][3], p.scale_log2, -shift1));
        row_sum[0] += s[half][0] + s[half][1];
        row_sum[1] += s[half][2] + s[half][3];
      }
      const std::uint32_t probabilities[4] = {Math::pack(s[0][0], s[0][1]), Math::pack(s[0][2], s[0][3]),
                                              Math::pack(s[1][0], s[1][1]), Math::pack(s[1][2], s[1][3])};
      const std::uint32_t valid[2] = {valid_tokens(position - entry.x - quad * 2),
                                      valid_tokens(position - entry.y - quad * 2)};
      Math::template values<D>(out, tile, lane, valid, probabilities);
    }

    // Once the slot's readers are done with it, its leading warp fills it again.
    __syncwarp();
    if (p.row_tiles > 1 && lane == 0) barrier_arrive(shared_address(released + slot));
    if (leads && j >= lag && j - lag + p.stages < led_tiles) {
      const int refilled = lag == 0 ? stage : stage == 0 ? p.stages - 1 : stage - 1;
      if (p.row_tiles > 1) {
        const int of_phase = refilled > stage ? parity ^ 1 : parity;
        barrier_wait(shared_address(released + warp * p.stages + refilled), static_cast<std::uint32_t>(of_phase));
      }
      issue(j - lag + p.stages, refilled);
    }
    leader += tile_step;
    while (leader >= p.leading) {
      leader -= p.leading;
      ++j;
      if (++stage == p.stages) {
        stage = 0;
        parity ^= 1;
      }
    }
  }

  const int rows = min(query_rows * p.group - block_row0, p.row_tiles * 16);
  __syncthreads();
  const BlockRows<D> block_rows{.p = p, .row_maxima = reinterpret_cast<float*>(shared), .warps = warps};
  block_rows.template merge_warps<Kv>(rows, row_tile, leads ? 0 : p.leading + (row_tile - 1) * p.following,
                                      leads ? p.leading : p.following, out, row_max, row_sum);
  const bool merges = p.rows_out.out != nullptr;
  if (merges && p.num_splits == 1) {
    merge_own_rows<D>(p, sequence, list, context, query_rows,
                      [&](int row, int column) { return block_rows.part(row, column); });
    return;
  }
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < rows * (D / 4); i += static_cast<int>(blockDim.x)) {
    const int row = i / (D / 4);
    const int column = (i % (D / 4)) * 4;
    const RowPart part = block_rows.part(row, column);
    const int s = ((block_row0 + row) * p.inverse_group) >> 16;
    const int head = list * p.group + block_row0 + row - s * p.group;
    const std::int64_t entry =
        ((static_cast<std::int64_t>(sequence) * p.window + s) * p.num_q_heads + head) * p.num_splits + split;
    if (part.lse != -INFINITY) exchange_store4(p.partial_values + entry * D + column, part.values);
    if (column == 0) exchange_store(p.partial_lse + entry, part.lse);
  }
  if (merges) merge_exchanged_rows<D>(p, sequence, list, split, context, query_rows);
}

}  // namespace retrosim::kernels::cuda
