// Tiles of 16 tokens' keys and values in shared memory: their layout, how they are loaded, and how tensor cores read
// them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "kernels/attention/attention_cuda.h"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/mma.cuh"

namespace retrosim::kernels::cuda {

inline constexpr int kTileTokens = 16;

/// Layout of a tile: [4 (K tokens 0-7, K 8-15, V 0-7, V 8-15)][segments][8 tokens][row bytes], each 16-byte chunk of a
/// row XORed with the token so that eight rows' equal chunks lie in different banks: what the copy engine's 128-byte
/// (64-byte for narrower rows) swizzle makes.
template <class Kv, int D>
struct KvTile {
  static constexpr int kTokenBytes = D * static_cast<int>(sizeof(Kv));
  static constexpr int kRowBytes = kTokenBytes < 128 ? kTokenBytes : 128;
  static constexpr int kSegments = kTokenBytes / kRowBytes;
  static constexpr int kBlockBytes = 8 * kTokenBytes;  // eight tokens
  static constexpr int kBytes = 4 * kBlockBytes;
  static constexpr int kChunks = kTokenBytes / 16;  // per token

  /// Offset of a 16-byte chunk of token `row` (0..7) of an eight-token block.
  __device__ static constexpr int chunk_offset(int row, int chunk) {
    constexpr int kPerRow = kRowBytes / 16;
    const int swizzle = kRowBytes == 128 ? row : row >> 1;
    return (chunk / kPerRow) * (8 * kRowBytes) + row * kRowBytes + (((chunk % kPerRow) ^ swizzle) * 16);
  }
};

/// One tile of the list that a warp group works through. Start is the position of the first of eight tokens, loaded is
/// their page's last_loaded; a missing half starts beyond every position.
struct TileEntry {
  static constexpr int kMissing = 1 << 30;
  int block[2];  // eight-token block, in the cache, of the keys of each half
  int start[2];
  int loaded[2];
};

/// Copies a tile by one thread through the copy engine. blocks_per_box: 4 (a page is a tile), 2 or 1.
template <class Kv, int D>
__device__ void load_tile_bulk(std::uint32_t tile, std::uint32_t barrier, const CUtensorMap* map,
                               const TileEntry& entry, int page_size) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  using Tile = KvTile<Kv, D>;
  const int value_blocks = page_size / 8;
  if (page_size >= kTileTokens) {
    barrier_expect_bytes(barrier, Tile::kBytes);
    copy_box(tile, map, entry.block[0], barrier);
    if (page_size > kTileTokens) copy_box(tile + 2 * Tile::kBlockBytes, map, entry.block[0] + value_blocks, barrier);
  } else {
    const int halves = entry.start[1] < TileEntry::kMissing ? 2 : 1;
    barrier_expect_bytes(barrier, halves * 2 * Tile::kBlockBytes);
    for (int half = 0; half < halves; ++half) {
      copy_box(tile + half * Tile::kBlockBytes, map, entry.block[half], barrier);
      copy_box(tile + (2 + half) * Tile::kBlockBytes, map, entry.block[half] + value_blocks, barrier);
    }
  }
#endif
}

/// The same by all lanes of a warp, 16 bytes at a time; the barrier counts 32 arrivals.
template <class Kv, int D>
__device__ void load_tile_async(std::uint32_t tile, std::uint32_t barrier, const char* kv, const TileEntry& entry,
                                int page_size, int lane) {
  using Tile = KvTile<Kv, D>;
  const int value_blocks = page_size / 8;
#pragma unroll
  for (int block = 0; block < 4; ++block) {
    const int half = block & 1;
    if (entry.start[half] >= TileEntry::kMissing) continue;
    const auto source_block = static_cast<std::int64_t>(entry.block[half] + (block >= 2 ? value_blocks : 0));
    const char* source = kv + source_block * Tile::kBlockBytes;
#pragma unroll
    for (int i = 0; i < 8 * Tile::kChunks; i += 32) {
      const int row = (i + lane) / Tile::kChunks;
      const int chunk = (i + lane) % Tile::kChunks;
      copy_16_bytes(tile + block * Tile::kBlockBytes + Tile::chunk_offset(row, chunk), source + (i + lane) * 16);
    }
  }
  barrier_arrive_after_copies(barrier);
}

/// Bits that keep the first `last + 1` of two tokens' 2-byte elements: values beyond the context may be anything, NaN
/// included, which a probability of 0 does not undo.
__device__ inline std::uint32_t valid_tokens(int last) {
  return last >= 1 ? 0xffffffffU : last == 0 ? 0x0000ffffU : 0U;
}

/// Tensor-core arithmetic on a tile, by stored type: bf16 as it is, e4m3 as f16 (exact).
template <class Kv>
struct KvMath;

template <>
struct KvMath<__nv_bfloat16> {
  /// Two probabilities as an A fragment register.
  __device__ static std::uint32_t pack(float low, float high) { return pack_bf16x2(low, high); }
  __device__ static void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    mma_bf16(d, a, b0, b1);
  }
  /// Element of the query in A register i (0..3) of k-step `step`: the first of two neighbours.
  __device__ static int query_element(int step, int i, int quad) { return step * 16 + (i / 2) * 8 + quad * 2; }
  __device__ static std::uint32_t query_pair(std::uint32_t bf16_pair) { return bf16_pair; }

  /// scores[half][*] += Q K^T of 16 query rows and the tile's 16 tokens.
  template <int D, class QueryFragment>
  __device__ static void scores(float (&s)[2][4], std::uint32_t tile, int lane, QueryFragment&& query) {
    using Tile = KvTile<__nv_bfloat16, D>;
    float odd[2][4] = {};
    const int row = lane & 7;
    const int base = (lane >> 4) * Tile::kBlockBytes;
    const int chunk = (lane >> 3) & 1;
#pragma unroll
    for (int step = 0; step < D / 16; ++step) {
      std::uint32_t k[4];
      ldmatrix_x4(k, tile + base + Tile::chunk_offset(row, step * 2 + chunk));
      std::uint32_t a[4];
      query(step, a);
      mma(step % 2 == 0 ? s[0] : odd[0], a, k[0], k[1]);
      mma(step % 2 == 0 ? s[1] : odd[1], a, k[2], k[3]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      s[0][i] += odd[0][i];
      s[1][i] += odd[1][i];
    }
  }

  /// o[*] += P V. `valid` is valid_tokens() of this lane's two tokens of each half.
  template <int D>
  __device__ static void values(float (&o)[D / 8][4], std::uint32_t tile, int lane, const std::uint32_t (&valid)[2],
                                const std::uint32_t (&p)[4]) {
    using Tile = KvTile<__nv_bfloat16, D>;
    const int row = lane & 7;
    const int base = (2 + ((lane >> 3) & 1)) * Tile::kBlockBytes;
    const int chunk = lane >> 4;
#pragma unroll
    for (int i = 0; i < D / 8; i += 2) {
      std::uint32_t v[4];
      ldmatrix_x4_transposed(v, tile + base + Tile::chunk_offset(row, chunk + i));
      mma(o[i], p, v[0] & valid[0], v[1] & valid[1]);
      mma(o[i + 1], p, v[2] & valid[0], v[3] & valid[1]);
    }
  }

  /// This lane's accumulators of one of its two rows, times `factor`, as a row of D elements.
  template <int Tiles>
  __device__ static void store(float* to, const float (&o)[Tiles][4], int half, int quad, float factor) {
#pragma unroll
    for (int i = 0; i < Tiles; ++i) {
      const float2 pair{o[i][half * 2] * factor, o[i][half * 2 + 1] * factor};
      *reinterpret_cast<float2*>(to + i * 8 + quad * 2) = pair;
    }
  }
};

/// A 2-byte matrix element holds two e4m3, so fragments come out permuted: along the head dimension for Q K^T, where
/// the query is permuted likewise, and over the output's columns for P V.
template <>
struct KvMath<__nv_fp8_e4m3> {
  __device__ static std::uint32_t pack(float low, float high) { return pack_f16x2(low, high); }
  __device__ static void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    mma_f16(d, a, b0, b1);
  }
  __device__ static int query_element(int step, int i, int quad) { return step * 16 + quad * 4 + (i / 2) * 2; }
  __device__ static std::uint32_t query_pair(std::uint32_t bf16_pair) {
    const float2 pair = bf16x2_to_float2(bf16_pair);
    return pack_f16x2(fminf(fmaxf(pair.x, -65504.0F), 65504.0F), fminf(fmaxf(pair.y, -65504.0F), 65504.0F));
  }

  template <int D, class QueryFragment>
  __device__ static void scores(float (&s)[2][4], std::uint32_t tile, int lane, QueryFragment&& query) {
    using Tile = KvTile<__nv_fp8_e4m3, D>;
    float odd[2][4] = {};
    const int row = lane & 7;
    const int base = ((lane >> 3) & 1) * Tile::kBlockBytes;
    const int chunk = lane >> 4;
#pragma unroll
    for (int step = 0; step < D / 16; step += 2) {
      std::uint32_t k[4];
      ldmatrix_x4(k, tile + base + Tile::chunk_offset(row, step + chunk));
      std::uint32_t a[4];
      std::uint32_t b0;
      std::uint32_t b1;
      query(step, a);
      e4m3x4_to_f16x4(k[0], b0, b1);
      mma(s[0], a, b0, b1);
      e4m3x4_to_f16x4(k[1], b0, b1);
      mma(s[1], a, b0, b1);
      query(step + 1, a);
      e4m3x4_to_f16x4(k[2], b0, b1);
      mma(odd[0], a, b0, b1);
      e4m3x4_to_f16x4(k[3], b0, b1);
      mma(odd[1], a, b0, b1);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      s[0][i] += odd[0][i];
      s[1][i] += odd[1][i];
    }
  }

  template <int D>
  __device__ static void values(float (&o)[D / 8][4], std::uint32_t tile, int lane, const std::uint32_t (&valid)[2],
                                const std::uint32_t (&p)[4]) {
    using Tile = KvTile<__nv_fp8_e4m3, D>;
    const int row = lane & 7;
    const int base = (2 + ((lane >> 3) & 1)) * Tile::kBlockBytes;
#pragma unroll
    for (int i = 0; i < D / 8; i += 4) {
      std::uint32_t v[4];
      ldmatrix_x4_transposed(v, tile + base + Tile::chunk_offset(row, i / 2 + (lane >> 4)));
#pragma unroll
      for (int chunk = 0; chunk < 2; ++chunk) {
        std::uint32_t even0;
        std::uint32_t odd0;
        std::uint32_t even1;
        std::uint32_t odd1;
        e4m3x4_to_f16x4(__byte_perm(v[2 * chunk] & valid[0], 0, 0x3120), even0, odd0);
        e4m3x4_to_f16x4(__byte_perm(v[2 * chunk + 1] & valid[1], 0, 0x3120), even1, odd1);
        mma(o[i + 2 * chunk], p, even0, even1);
        mma(o[i + 2 * chunk + 1], p, odd0, odd1);
      }
    }
  }

  /// Accumulators 2 i and 2 i + 1 hold the even and the odd ones of 16 elements.
  template <int Tiles>
  __device__ static void store(float* to, const float (&o)[Tiles][4], int half, int quad, float factor) {
#pragma unroll
    for (int i = 0; i < Tiles; i += 2) {
      const float4 four{o[i][half * 2] * factor, o[i + 1][half * 2] * factor, o[i][half * 2 + 1] * factor,
                        o[i + 1][half * 2 + 1] * factor};
      *reinterpret_cast<float4*>(to + i * 8 + quad * 4) = four;
    }
  }
};

}  // namespace retrosim::kernels::cuda
