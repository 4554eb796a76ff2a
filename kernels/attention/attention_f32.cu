// Float32 attention for identity tests: one warp per query row, head and split, all arithmetic in float32.
#include "kernels/attention/paged_attention_kernels.h"

namespace retrosim::kernels::cuda {

namespace {

__device__ float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffU, x, offset);
  return x;
}

template <int D>
__global__ void __launch_bounds__(32) attention_f32(const AttentionKernelParams p) {
  constexpr int kPerLane = D / 32;
  wait_for_previous_kernel();
  allow_next_kernel();
  const int lane = static_cast<int>(threadIdx.x);
  const int split = static_cast<int>(blockIdx.x);
  const int age = static_cast<int>(blockIdx.y) / p.num_q_heads;
  const int head = static_cast<int>(blockIdx.y) % p.num_q_heads;
  const int sequence = static_cast<int>(blockIdx.z);
  if (age >= p.num_rows[sequence]) return;
  const int context = p.context_lens[sequence];
  const int last = context - 1 - age;
  const TileRange range = tile_range(p, sequence, head / p.group, split, context);
  const std::int64_t row = (static_cast<std::int64_t>(sequence) * p.window + age) * p.num_q_heads + head;

  float query[kPerLane];
  for (int i = 0; i < kPerLane; ++i) query[i] = static_cast<const float*>(p.q)[row * D + i * 32 + lane];
  float out[kPerLane] = {};
  float largest = -INFINITY;
  float sum = 0;
  for (int index = range.begin; index < range.end; ++index) {
    const TileEntry entry = range.entry(range.pages(index), index);
    for (int token = 0; token < kTileTokens; ++token) {
      const int half = token / 8;
      const int position = entry.start[half] + token % 8;
      bool visible = position <= last;
      if (p.selected != nullptr && age > 0) visible = visible && p.last_loaded != nullptr && entry.loaded[half] < last;
      if (p.sliding_window > 0) visible = visible && position > last - p.sliding_window;
      if (!visible) continue;
      const auto* key =
          reinterpret_cast<const float*>(p.kv) + (static_cast<std::int64_t>(entry.block[half]) * 8 + token % 8) * D;
      const float* value = key + static_cast<std::int64_t>(p.page_size) * D;
      float dot = 0;
      for (int i = 0; i < kPerLane; ++i) dot = fmaf(query[i], key[i * 32 + lane], dot);
      const float score = warp_sum(dot) * p.scale_log2;
      const float new_largest = fmaxf(largest, score);
      if (new_largest == -INFINITY) continue;
      const float factor = exp2f(largest - new_largest);
      const float probability = exp2f(score - new_largest);
      for (int i = 0; i < kPerLane; ++i) out[i] = fmaf(probability, value[i * 32 + lane], out[i] * factor);
      sum = fmaf(sum, factor, probability);
      largest = new_largest;
    }
  }
  const std::int64_t partial = row * p.num_splits + split;
  if (lane == 0) p.partial_lse[partial] = sum > 0 ? (largest + log2f(sum)) * 0.69314718055994531F : -INFINITY;
  if (!(sum > 0)) return;
  for (int i = 0; i < kPerLane; ++i) p.partial_values[partial * D + i * 32 + lane] = out[i] / sum;
}

}  // namespace

void launch_attention_f32(const AttentionKernelParams& params, int head_dim, int batch, cudaStream_t stream) {
  const dim3 grid(params.num_splits, params.num_q_heads * params.window, batch);
  auto* kernel = head_dim == 64 ? attention_f32<64> : head_dim == 128 ? attention_f32<128> : attention_f32<256>;
  launch(kernel, grid, dim3(32), 0, stream, params);
}

}  // namespace retrosim::kernels::cuda
