// The end of attention in one launch: the splits of a list exchange their results through global memory, and the rows
// are merged with the output cache, by the blocks that made them (kernels/attention_merge/attention_merge.h).
#pragma once

#include "kernels/attention/tile_range.cuh"
#include "kernels/cuda/four.cuh"

namespace retrosim::kernels::cuda {

// A word of the exchange that nobody has written: no arithmetic makes this NaN. Who reads a word writes this back.
inline constexpr std::uint32_t kNotWritten = 0xffffffffU;
// Rounds of waiting for a block that runs beside this one; more are an error.
inline constexpr int kMaxRounds = 1 << 26;

__device__ inline float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline float exchange_load(const float* from) {
  float v;
  asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(v) : "l"(from));
  return v;
}
__device__ inline float4 exchange_load4(const float* from) {
  float4 v;
  asm volatile("ld.relaxed.gpu.global.v4.f32 {%0,%1,%2,%3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(from));
  return v;
}
__device__ inline void exchange_store(float* to, float v) {
  asm volatile("st.relaxed.gpu.global.f32 [%0], %1;" ::"l"(to), "f"(v));
}
__device__ inline void exchange_store4(float* to, float4 v) {
  asm volatile("st.relaxed.gpu.global.v4.f32 [%0], {%1,%2,%3,%4};" ::"l"(to), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w));
}

__device__ inline bool is_written(float v) { return __float_as_uint(v) != kNotWritten; }
__device__ inline bool is_written(float4 v) {
  return is_written(v.x) && is_written(v.y) && is_written(v.z) && is_written(v.w);
}

/// A query row's place, and what the output cache has of it.
struct RowOut {
  std::int64_t row;    // of out and lse
  std::int64_t entry;  // of the output cache
  bool exists;
  bool reads_cache;
  bool writes_cache;  // not the row that leaves

  __device__ RowOut(const AttentionKernelParams& p, int sequence, int head, int age, int context, int query_rows)
      : row((static_cast<std::int64_t>(sequence) * p.window + age) * p.num_q_heads + head),
        entry(0),
        exists(age < query_rows),
        reads_cache(exists && age > 0 && p.rows_out.slots > 0),
        writes_cache(exists && age < p.rows_out.slots) {
    if (p.rows_out.slots == 0) return;
    const int slot = (context - 1 - age) % p.rows_out.slots;
    entry = (static_cast<std::int64_t>(slot) * static_cast<int>(gridDim.z) + sequence) * p.num_q_heads + head;
  }
};

/// Four columns of a row's attention, and the row's log-sum-exp.
struct RowPart {
  float lse = -INFINITY;
  float4 values{};

  __device__ void merge(float other_lse, float4 other) {
    if (other_lse == -INFINITY) return;
    const float top = fmaxf(lse, other_lse);
    const float weight = __expf(lse - top);
    const float other_weight = __expf(other_lse - top);
    const float scale = 1.0F / (weight + other_weight);
    values = lse == -INFINITY ? other : sum(scaled(values, weight * scale), scaled(other, other_weight * scale));
    lse = lse == -INFINITY ? other_lse : top + __logf(weight + other_weight);
  }

  __device__ void write(const AttentionKernelParams& p, const RowOut& to, int head_dim, int column) const {
    const AttentionRowsOut& out = p.rows_out;
    store4(out.out + to.row * head_dim + column, values);
    if (to.writes_cache) store4(out.cache_values + to.entry * head_dim + column, values);
    if (column != 0) return;
    if (to.writes_cache) out.cache_lse[to.entry] = lse;
    if (out.lse != nullptr) out.lse[to.row] = lse;
  }
};

/// This thread's share of a list's stamps.
__device__ inline void stamp_pages(const AttentionKernelParams& p, int sequence, int list, int context, int first,
                                   int step) {
  if (p.rows_out.last_loaded == nullptr) return;
  const std::int64_t of_list = static_cast<std::int64_t>(sequence) * p.num_lists + list;
  const int count = p.counts[of_list];
  for (int i = first; i < count; i += step) {
    p.rows_out.last_loaded[of_list * p.max_pages + p.selected[of_list * p.k_max + i]] = context - 1;
  }
}

/// Takes one row's parts out of the exchange: of the columns of a quarter of the head, each lane adds up some splits,
/// and then all lanes of a column have their sum. Splits that saw no token leave no values.
template <int D>
struct Exchange {
  static constexpr int kSlices = 4;
  static constexpr int kSharers = 32 / (D / kSlices / 4);  // lanes that share a column
  static constexpr int kPerLane = 16 / kSharers;           // splits of a lane at once

  __device__ static int column(int slice, int lane) { return slice * (D / kSlices) + lane % (32 / kSharers) * 4; }

  __device__ static RowPart take(const AttentionKernelParams& p, std::int64_t row, int slice, int lane) {
    const int sharer = lane / (32 / kSharers);
    RowPart result;
    float total = 0;
    for (int base = sharer; base - sharer < p.num_splits; base += 16) {
      float* lse_at = p.partial_lse + row * p.num_splits + base;
      float* values_at = p.partial_values + (row * p.num_splits + base) * D + column(slice, lane);
      float lse[kPerLane];
      float4 loaded[kPerLane];
      bool complete = false;
      for (int round = 0; !complete; ++round) {
        if (round == kMaxRounds) __trap();
#pragma unroll
        for (int i = 0; i < kPerLane; ++i) {
          const bool is_split = base + i * kSharers < p.num_splits;
          lse[i] = is_split ? exchange_load(lse_at + i * kSharers) : -INFINITY;
          loaded[i] = is_split ? exchange_load4(values_at + i * kSharers * D) : float4{};
        }
        complete = true;
#pragma unroll
        for (int i = 0; i < kPerLane; ++i) {
          complete = complete && is_written(lse[i]) && (lse[i] == -INFINITY || is_written(loaded[i]));
        }
        complete = __all_sync(0xffffffffU, complete);
      }
      float largest = result.lse;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) largest = fmaxf(largest, lse[i]);
#pragma unroll
      for (int offset = 16; offset >= 32 / kSharers; offset /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, offset));
      }
      const float factor = largest == -INFINITY ? 1.0F : __expf(result.lse - largest);
      result.lse = largest;
      total *= factor;
      result.values = scaled(result.values, factor);
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const float weight = lse[i] == -INFINITY ? 0.0F : __expf(lse[i] - largest);
        total += weight;
        if (weight != 0.0F) result.values = sum(result.values, scaled(loaded[i], weight));
      }
    }
#pragma unroll
    for (int offset = 16; offset >= 32 / kSharers; offset /= 2) {
      total += __shfl_xor_sync(0xffffffffU, total, offset);
      result.values.x += __shfl_xor_sync(0xffffffffU, result.values.x, offset);
      result.values.y += __shfl_xor_sync(0xffffffffU, result.values.y, offset);
      result.values.z += __shfl_xor_sync(0xffffffffU, result.values.z, offset);
      result.values.w += __shfl_xor_sync(0xffffffffU, result.values.w, offset);
    }
    if (result.lse != -INFINITY) {
      result.values = scaled(result.values, 1.0F / total);
      result.lse += __logf(total);
    }
    return result;
  }

  /// Makes the row's places ready for the next launch; after every warp that takes the row has.
  __device__ static void give_back(const AttentionKernelParams& p, std::int64_t row, int slice, int lane) {
    const float unwritten = __uint_as_float(kNotWritten);
    for (int split = lane / (32 / kSharers); split < p.num_splits; split += kSharers) {
      exchange_store4(p.partial_values + (row * p.num_splits + split) * D + column(slice, lane),
                      {unwritten, unwritten, unwritten, unwritten});
    }
    if (slice == 0 && lane < p.num_splits) {
      for (int split = lane; split < p.num_splits; split += 32) {
        exchange_store(p.partial_lse + row * p.num_splits + split, unwritten);
      }
    }
  }
};

/// Rows of a list whose splits lie in the exchange. The blocks take pairs of rows in turn, age i and age window - 1 - i
/// of one head, with four warps for a row: row 0 (Push) and row window - 1 (Pop) share a slot of the ring, so a pair's
/// entries are read before any is written. Whoever has row 0 knows that all blocks have read the list's last_loaded.
template <int D>
__device__ void merge_exchanged_rows(const AttentionKernelParams& p, int sequence, int list, int split, int context,
                                     int query_rows) {
  using Parts = Exchange<D>;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const int sides = p.window > 1 ? 2 : 1;
  const int pairs = p.group * ((p.window + 1) / 2);
  const int at_once = (static_cast<int>(blockDim.x) >> 5) / (Parts::kSlices * sides);
  const int slice = warp % Parts::kSlices;
  const int side = warp / Parts::kSlices % sides;
  const int column = Parts::column(slice, lane);
  for (int first = split; first < pairs; first += at_once * p.num_splits) {
    const int of_block = warp / (Parts::kSlices * sides);
    const int pair = first + of_block * p.num_splits;
    const int younger = pair / p.group;
    const int of_group = pair - younger * p.group;
    const int age = side == 0 ? younger : p.window - 1 - younger;
    const bool has_row = of_block < at_once && pair < pairs && (side == 0 || age > younger);
    const RowOut to(p, sequence, list * p.group + of_group, age, context, query_rows);
    RowPart part;
    if (has_row && to.exists) {
      float old_lse = -INFINITY;
      float4 old{};
      if (to.reads_cache) {
        old_lse = p.rows_out.cache_lse[to.entry];
        old = load4(p.rows_out.cache_values + to.entry * D + column);
      }
      part = Parts::take(p, to.row, slice, lane);
      part.merge(old_lse, old);
    }
    __syncthreads();
    if (!has_row) continue;
    if (lane < 32 / Parts::kSharers) part.write(p, to, D, column);
    if (to.exists) Parts::give_back(p, to.row, slice, lane);
    if (age == 0) {
      stamp_pages(p, sequence, list, context, (of_group * Parts::kSlices + slice) * 32 + lane,
                  p.group * Parts::kSlices * 32);
    }
  }
}

/// Rows of a list that is not split: `row_part(row, column)` gives what the block's warps have of a row. Every entry
/// of the output cache is read before any is written.
template <int D, class Part>
__device__ void merge_own_rows(const AttentionKernelParams& p, int sequence, int list, int context, int query_rows,
                               Part&& row_part) {
  constexpr int kLanes = D / 4 < 32 ? D / 4 : 32;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const int sides = p.window > 1 ? 2 : 1;
  const int pairs = p.group * ((p.window + 1) / 2);
  const int at_once = (static_cast<int>(blockDim.x) >> 5) / sides;
  const int side = warp % sides;
  if (warp / sides >= at_once) return;
  for (int pair = warp / sides; pair < pairs; pair += at_once) {
    const int younger = pair / p.group;
    const int of_group = pair - younger * p.group;
    const int age = side == 0 ? younger : p.window - 1 - younger;
    const bool has_row = side == 0 || age > younger;
    const RowOut to(p, sequence, list * p.group + of_group, age, context, query_rows);
    constexpr int kParts = (D + 127) / 128;
    RowPart part[kParts];
    if (has_row && to.exists) {
      float old_lse = -INFINITY;
      float4 old[kParts] = {};
      if (to.reads_cache) {
        old_lse = p.rows_out.cache_lse[to.entry];
#pragma unroll
        for (int i = 0; i < kParts; ++i) {
          if (lane < kLanes) old[i] = load4(p.rows_out.cache_values + to.entry * D + i * 128 + lane * 4);
        }
      }
#pragma unroll
      for (int i = 0; i < kParts; ++i) {
        if (lane < kLanes) part[i] = row_part(age * p.group + of_group, i * 128 + lane * 4);
        part[i].merge(old_lse, old[i]);
      }
    }
    if (sides == 2) asm volatile("bar.sync %0, 64;" ::"r"(1 + warp / 2) : "memory");
    if (!has_row || lane >= kLanes) continue;
#pragma unroll
    for (int i = 0; i < kParts; ++i) part[i].write(p, to, D, i * 128 + lane * 4);
  }
  stamp_pages(p, sequence, list, context, static_cast<int>(threadIdx.x), at_once * sides * 32);
}

}  // namespace retrosim::kernels::cuda
