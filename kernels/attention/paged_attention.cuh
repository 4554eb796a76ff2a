// The split-KV kernel. A block takes one sequence, one page list and one share of its tiles; each group of warps works
// through every n-th tile on its own: its own ring of tiles in flight, its own running softmax. The groups' results are
// merged in shared memory at the end.
#pragma once

#include "kernels/attention/kv_tile.cuh"
#include "kernels/attention/tile_range.cuh"
#include "kernels/cuda/launch.h"

namespace retrosim::kernels::cuda {

__device__ inline float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// MT: 16-row tiles of query rows (row = s * group + head). DSplit: warps of a group, each with its slice of the
/// output's columns. Shared memory: [groups][stages] tiles | [MT - in registers] query fragments | entries | barriers;
/// the tiles' room is reused for the merge of the groups.
template <class Kv, int D, int MT, int DSplit, KvLoader Loader>
__global__ void __launch_bounds__(256, 1)
    paged_attention(const __grid_constant__ CUtensorMap map, const AttentionKernelParams p) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  if constexpr (Loader == KvLoader::bulk_tensor) return;
#endif
  using Tile = KvTile<Kv, D>;
  using Math = KvMath<Kv>;
  constexpr int kSteps = D / 16;
  constexpr int kColumns = D / DSplit;
  constexpr int kOutTiles = kColumns / 8;
  constexpr int kMaxGroups = 8 / DSplit;
  constexpr bool kQueryInRegisters = D <= 128;
  constexpr int kQueryTilesInShared = kQueryInRegisters ? MT - 1 : MT;
  extern __shared__ char shared_raw[];
  char* shared = shared_raw + ((1024 - (shared_address(shared_raw) & 1023)) & 1023);

  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const int groups = p.warps / DSplit;
  const int group = warp / DSplit;
  const int slice = warp % DSplit;
  const int quad = lane & 3;
  const int split = static_cast<int>(blockIdx.x);
  const int list = static_cast<int>(blockIdx.y) / p.row_blocks;
  const int row0 = (static_cast<int>(blockIdx.y) % p.row_blocks) * (MT * 16);
  const int sequence = static_cast<int>(blockIdx.z);

  const int ring_bytes = groups * p.stages * Tile::kBytes;
  auto* query_shared = reinterpret_cast<uint4*>(shared + ring_bytes);
  auto* entries = reinterpret_cast<int4*>(query_shared + kQueryTilesInShared * kSteps * 32);
  auto* barriers = reinterpret_cast<std::uint64_t*>(entries + groups * p.stages);
  auto* released = barriers + groups * p.stages;

  if (threadIdx.x == 0) {
    for (int i = 0; i < groups * p.stages; ++i) {
      barrier_init(shared_address(barriers + i), Loader == KvLoader::bulk_tensor ? 1 : 32);
      if constexpr (DSplit > 1) barrier_init(shared_address(released + i), DSplit);
    }
    barrier_init_fence();
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (Loader == KvLoader::bulk_tensor) prefetch_tensor_map(&map);
#endif
  }
  const int context = p.context_lens[sequence];
  const int position = context - 1;
  const int query_rows = p.num_rows[sequence];
  __syncthreads();
  wait_for_previous_kernel();
  if (row0 >= query_rows * p.group) return;
  const TileRange range = tile_range(p, sequence, list, split, context);
  const int first = range.begin + group;
  const int my_tiles = range.end > first ? (range.end - first + groups - 1) / groups : 0;

  // The entries of 32 tiles at a time lie across the lanes of each group's first warp; the next 32 and the pages of the
  // 32 after them are on their way.
  TileEntry current{};
  TileEntry next{};
  int2 later{-1, -1};
  const auto tile_index = [&](int j) { return first + j * groups; };
  const auto issue = [&](int j, int stage) {
    const int source = j & 31;
    if (source == 0 && j > 0) {
      current = next;
      next = range.entry(later, tile_index(j + 32 + lane));
      later = range.pages(tile_index(j + 64 + lane));
    }
    const TileEntry entry = shuffle(current, source);
    const int slot = group * p.stages + stage;
    const std::uint32_t tile = shared_address(shared) + slot * Tile::kBytes;
    const std::uint32_t barrier = shared_address(barriers + slot);
    if (lane == 0) entries[slot] = {entry.start[0], entry.start[1], entry.loaded[0], entry.loaded[1]};
    if constexpr (Loader == KvLoader::bulk_tensor) {
      if (lane == 0) load_tile_bulk<Kv, D>(tile, barrier, &map, entry, p.page_size);
    } else {
      __syncwarp();
      load_tile_async<Kv, D>(tile, barrier, p.kv, entry, p.page_size, lane);
    }
  };
  int2 pages{-1, -1};
  int2 next_pages{-1, -1};
  if (slice == 0) {
    pages = range.pages(tile_index(lane));
    if (my_tiles > 32) {
      next_pages = range.pages(tile_index(32 + lane));
      later = range.pages(tile_index(64 + lane));
    }
  }

  // Query fragments.
  const auto query_pair = [&](int row, int element) -> std::uint32_t {
    const int s = (row * p.inverse_group) >> 16;
    if (s >= query_rows) return 0;
    const int head = list * p.group + row - s * p.group;
    const std::int64_t offset =
        ((static_cast<std::int64_t>(sequence) * p.window + s) * p.num_q_heads + head) * D + element;
    return Math::query_pair(*reinterpret_cast<const std::uint32_t*>(static_cast<const __nv_bfloat16*>(p.q) + offset));
  };
  const auto query_fragment = [&](int tile, int step, int of_lane, std::uint32_t(&a)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[i] = query_pair(row0 + tile * 16 + (of_lane >> 2) + (i & 1) * 8, Math::query_element(step, i, of_lane & 3));
    }
  };
  std::uint32_t query[kQueryInRegisters ? kSteps : 1][4];
  if constexpr (kQueryInRegisters) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) query_fragment(0, step, lane, query[step]);
  }
  if constexpr (kQueryTilesInShared > 0) {
    for (int i = static_cast<int>(threadIdx.x); i < kQueryTilesInShared * kSteps * 32; i += p.warps * 32) {
      std::uint32_t a[4];
      query_fragment(i / (kSteps * 32) + (kQueryInRegisters ? 1 : 0), (i / 32) % kSteps, i & 31, a);
      query_shared[i] = {a[0], a[1], a[2], a[3]};
    }
    __syncthreads();
  }

  if (slice == 0) {
    current = range.entry(pages, tile_index(lane));
    if (my_tiles > 32) next = range.entry(next_pages, tile_index(32 + lane));
    for (int j = 0; j < my_tiles && j < p.stages; ++j) issue(j, j);
  }
  allow_next_kernel();

  float out[MT][kOutTiles][4] = {};
  float row_max[MT][2];
  float row_sum[MT][2] = {};
#pragma unroll
  for (int mt = 0; mt < MT; ++mt) row_max[mt][0] = row_max[mt][1] = -INFINITY;

  int stage = 0;
  int parity = 0;
  for (int j = 0; j < my_tiles; ++j) {
    const int slot = group * p.stages + stage;
    const std::uint32_t tile = shared_address(shared) + slot * Tile::kBytes;
    barrier_wait(shared_address(barriers + slot), static_cast<std::uint32_t>(parity));
    const int4 entry = entries[slot];

    // Older rows that need this tile: the unseen sets nest, so they are rows 1..older.
    int older = query_rows - 1;
    if (p.selected != nullptr && !p.masked) {
      const int older0 = min(position - entry.z - 1, position - entry.x);
      const int older1 = min(position - entry.w - 1, position - entry.y);
      older = p.last_loaded != nullptr ? min(older, max(0, max(older0, older1))) : 0;
    }
    const int row_tiles = ((older + 1) * p.group - row0 + 15) >> 4;

    // Values beyond the context may be anything, NaN included: probability 0 does not undo that.
    if (max(entry.x, entry.y) + 7 > position) {
      constexpr int kChunks = Tile::kChunks / DSplit;
      for (int i = lane; i < 16 * kChunks; i += 32) {
        const int token = i / kChunks;
        if ((token < 8 ? entry.x : entry.y) + (token & 7) > position) {
          const int offset =
              (2 + token / 8) * Tile::kBlockBytes + Tile::chunk_offset(token & 7, slice * kChunks + i % kChunks);
          *reinterpret_cast<uint4*>(shared + slot * Tile::kBytes + offset) = {0, 0, 0, 0};
        }
      }
      fence_before_copy_engine();
      __syncwarp();
    }

#pragma unroll
    for (int mt = 0; mt < MT; ++mt) {
      if (mt < row_tiles) {
        float s[2][4] = {};
        Math::template scores<D>(s, tile, lane, [&](int step, std::uint32_t(&a)[4]) {
          if (kQueryInRegisters && mt == 0) {
#pragma unroll
            for (int i = 0; i < 4; ++i) a[i] = query[kQueryInRegisters ? step : 0][i];
          } else {
            const uint4 v = query_shared[((kQueryInRegisters ? mt - 1 : mt) * kSteps + step) * 32 + lane];
            a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
          }
        });

        float new_max[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {  // rows lane / 4 and lane / 4 + 8
          const int row = row0 + mt * 16 + (lane >> 2) + half * 8;
          const int age = (row * p.inverse_group) >> 16;
          const int last = age < query_rows ? position - age : -1;
          const bool sees_all = age == 0 || p.selected == nullptr;
          const int last0 = (sees_all || entry.z < last ? last : -1) - entry.x - quad * 2;
          const int last1 = (sees_all || entry.w < last ? last : -1) - entry.y - quad * 2;
          float* s0 = &s[0][half * 2];
          float* s1 = &s[1][half * 2];
          if (last0 < 0) s0[0] = -INFINITY;
          if (last0 < 1) s0[1] = -INFINITY;
          if (last1 < 0) s1[0] = -INFINITY;
          if (last1 < 1) s1[1] = -INFINITY;
          if (p.sliding_window > 0) {
            const int first0 = last - p.sliding_window + 1 - entry.x - quad * 2;
            const int first1 = last - p.sliding_window + 1 - entry.y - quad * 2;
            if (first0 > 0) s0[0] = -INFINITY;
            if (first0 > 1) s0[1] = -INFINITY;
            if (first1 > 0) s1[0] = -INFINITY;
            if (first1 > 1) s1[1] = -INFINITY;
          }
          float largest = fmaxf(fmaxf(s0[0], s0[1]), fmaxf(s1[0], s1[1]));
          largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, 1));
          largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, 2));
          new_max[half] = fmaxf(row_max[mt][half], largest * p.scale_log2);
        }
        if (__any_sync(0xffffffffU, new_max[0] > row_max[mt][0] || new_max[1] > row_max[mt][1])) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const float factor = new_max[half] == -INFINITY ? 1.0F : exp2_fast(row_max[mt][half] - new_max[half]);
            row_max[mt][half] = new_max[half];
            row_sum[mt][half] *= factor;
#pragma unroll
            for (int i = 0; i < kOutTiles; ++i) {
              out[mt][i][half * 2] *= factor;
              out[mt][i][half * 2 + 1] *= factor;
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
          row_sum[mt][0] += s[half][0] + s[half][1];
          row_sum[mt][1] += s[half][2] + s[half][3];
        }
        const std::uint32_t probabilities[4] = {Math::pack(s[0][0], s[0][1]), Math::pack(s[0][2], s[0][3]),
                                                Math::pack(s[1][0], s[1][1]), Math::pack(s[1][2], s[1][3])};
        Math::template values<D, kOutTiles>(out[mt], tile, lane, slice * kColumns, probabilities);
      }
    }

    // Once all warps of the group are done with the slot, its first warp fills it again.
    __syncwarp();
    if constexpr (DSplit > 1) {
      if (lane == 0) barrier_arrive(shared_address(released + slot));
    }
    if (slice == 0 && j + p.stages < my_tiles) {
      if constexpr (DSplit > 1) barrier_wait(shared_address(released + slot), parity);
      issue(j + p.stages, stage);
    }
    if (++stage == p.stages) {
      stage = 0;
      parity ^= 1;
    }
  }

  // Merge of the groups: [groups][MT * 16] maxima and sums, then [groups][rows][D + 8] scaled values.
  const int rows = min(query_rows * p.group - row0, MT * 16);
  __syncthreads();
  auto* maxima = reinterpret_cast<float*>(shared);
  float* sums = maxima + groups * MT * 16;
  float* values = sums + groups * MT * 16;
#pragma unroll
  for (int mt = 0; mt < MT; ++mt) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = row_sum[mt][half];
      sum += __shfl_xor_sync(0xffffffffU, sum, 1);
      sum += __shfl_xor_sync(0xffffffffU, sum, 2);
      const int row = mt * 16 + (lane >> 2) + half * 8;
      if (slice == 0 && quad == 0) {
        maxima[group * MT * 16 + row] = row_max[mt][half];
        sums[group * MT * 16 + row] = sum;
      }
    }
  }
  __syncthreads();
#pragma unroll
  for (int mt = 0; mt < MT; ++mt) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = mt * 16 + (lane >> 2) + half * 8;
      if (row >= rows || row_max[mt][half] == -INFINITY) continue;
      float largest = -INFINITY;
#pragma unroll
      for (int g = 0; g < kMaxGroups; ++g) {
        if (g < groups) largest = fmaxf(largest, maxima[g * MT * 16 + row]);
      }
      const float factor = exp2_fast(row_max[mt][half] - largest);
      float* to = values + (group * rows + row) * (D + 8) + slice * kColumns;
#pragma unroll
      for (int i = 0; i < kOutTiles; ++i) {
        to[Math::output_element(i, 0, quad)] = out[mt][i][half * 2] * factor;
        to[Math::output_element(i, 1, quad)] = out[mt][i][half * 2 + 1] * factor;
      }
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < rows * (D / 4); i += p.warps * 32) {
    const int row = i / (D / 4);
    const int column = (i % (D / 4)) * 4;
    float largest = -INFINITY;
    float of_group[kMaxGroups];
#pragma unroll
    for (int g = 0; g < kMaxGroups; ++g) {
      of_group[g] = g < groups ? maxima[g * MT * 16 + row] : -INFINITY;
      largest = fmaxf(largest, of_group[g]);
    }
    const int s = ((row0 + row) * p.inverse_group) >> 16;
    const int head = list * p.group + row0 + row - s * p.group;
    const std::int64_t entry =
        ((static_cast<std::int64_t>(sequence) * p.window + s) * p.num_q_heads + head) * p.num_splits + split;
    if (largest == -INFINITY) {
      if (column == 0) p.partial_lse[entry] = -INFINITY;
      continue;
    }
    float sum = 0;
    float4 total{};
#pragma unroll
    for (int g = 0; g < kMaxGroups; ++g) {
      if (of_group[g] == -INFINITY) continue;
      sum += sums[g * MT * 16 + row] * exp2_fast(of_group[g] - largest);
      const float4 v = *reinterpret_cast<const float4*>(values + (g * rows + row) * (D + 8) + column);
      total.x += v.x, total.y += v.y, total.z += v.z, total.w += v.w;
    }
    const float scale = p.v_scale / sum;
    *reinterpret_cast<float4*>(p.partial_values + entry * D + column) = {total.x * scale, total.y * scale,
                                                                         total.z * scale, total.w * scale};
    if (column == 0) p.partial_lse[entry] = (largest + log2f(sum)) * 0.69314718055994531F;
  }
}

}  // namespace retrosim::kernels::cuda
