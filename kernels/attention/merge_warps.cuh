// What the warps of a block have of its rows, merged in shared memory.
#pragma once

#include "kernels/attention/kv_tile.cuh"
#include "kernels/attention/merge_rows.cuh"

namespace retrosim::kernels::cuda {

/// Warps that share a row tile at most.
inline constexpr int kMaxSharers = 8;

/// What the merge of the warps needs: [64] maxima, [warps][16] maxima and sums, [warps][16][D + 8] values.
constexpr int merge_bytes(int warps, int head_dim) { return (64 + warps * 16 * (2 + head_dim + 8)) * 4; }

/// In shared memory: the rows' maxima, the warps' [warps][16] maxima, sums and values, the latter two scaled to the
/// row's maximum. A sum of 0 says that the warp adds nothing to the row, and has left no values.
template <int D>
struct BlockRows {
  static constexpr int kValueStride = D + 8;  // floats between rows: fewer bank conflicts
  const AttentionKernelParams& p;
  float* row_maxima;
  int warps;

  __device__ float* maxima() const { return row_maxima + 64; }
  __device__ float* sums() const { return maxima() + warps * 16; }
  __device__ float* values() const { return sums() + warps * 16; }

  /// By all warps, those of row tile `row_tile` being [first_warp, first_warp + num_warps): their accumulators and
  /// running softmax of `rows` rows of the block.
  template <class Kv>
  __device__ void merge_warps(int rows, int row_tile, int first_warp, int num_warps, const float (&out)[D / 8][4],
                              const float (&row_max)[2], float (&row_sum)[2]) const {
    const int lane = static_cast<int>(threadIdx.x) & 31;
    const int warp = static_cast<int>(threadIdx.x) >> 5;
    const int quad = lane & 3;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      row_sum[half] += __shfl_xor_sync(0xffffffffU, row_sum[half], 1);
      row_sum[half] += __shfl_xor_sync(0xffffffffU, row_sum[half], 2);
      if (quad == 0) maxima()[warp * 16 + (lane >> 2) + half * 8] = row_max[half];
    }
    __syncthreads();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = (lane >> 2) + half * 8;
      float largest = -INFINITY;
#pragma unroll
      for (int w = 0; w < kMaxSharers; ++w) {
        if (w < num_warps) largest = fmaxf(largest, maxima()[(first_warp + w) * 16 + row]);
      }
      const float factor = row_max[half] == -INFINITY ? 0.0F : exp2_fast(row_max[half] - largest);
      if (quad == 0) sums()[warp * 16 + row] = row_sum[half] * factor;
      if (quad == 0 && warp == first_warp) row_maxima[row_tile * 16 + row] = largest;
      if (row_tile * 16 + row < rows && factor > 0) {
        KvMath<Kv>::store(values() + (warp * 16 + row) * kValueStride, out, half, quad, factor);
      }
    }
    __syncthreads();
  }

  /// Four columns of what the block has of a row.
  __device__ RowPart part(int row, int column) const {
    const int of_tile = row / 16;
    const int base = (of_tile == 0 ? 0 : p.leading + (of_tile - 1) * p.following) * 16 + row % 16;
    const int count = of_tile == 0 ? p.leading : p.following;
    float of_warp[kMaxSharers];
    float4 of_columns[kMaxSharers];
#pragma unroll
    for (int w = 0; w < kMaxSharers; ++w) of_warp[w] = w < count ? sums()[base + w * 16] : 0.0F;
#pragma unroll
    for (int w = 0; w < kMaxSharers; ++w) {
      of_columns[w] = float4{};
      if (of_warp[w] == 0.0F) continue;
      of_columns[w] = *reinterpret_cast<const float4*>(values() + (base + w * 16) * kValueStride + column);
    }
    float total = 0;
    RowPart part;
#pragma unroll
    for (int w = 0; w < kMaxSharers; ++w) {
      total += of_warp[w];
      part.values = sum(part.values, of_columns[w]);
    }
    if (total == 0.0F) return part;
    part.values = scaled(part.values, __fdividef(p.v_scale, total));
    part.lse = (row_maxima[row] + __log2f(total)) * 0.69314718055994531F;
    return part;
  }
};

}  // namespace retrosim::kernels::cuda
