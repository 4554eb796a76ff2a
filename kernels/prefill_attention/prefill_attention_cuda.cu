#include <algorithm>
#include <string>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/prefill_attention/prefill_attention_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kRowsPerBlock = kWarps * 16;  // queries
constexpr int kTileKeys = 64;
constexpr int kPad = 8;  // elements: rows of a tile start 4 banks apart

__device__ __forceinline__ void mma_bf16(float (&acc)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                         std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <typename Kv>
__device__ __forceinline__ __nv_bfloat16 as_bf16(Kv x, float scale) {
  if constexpr (std::is_same_v<Kv, __nv_bfloat16>) {
    return x;
  } else {
    return __float2bfloat16_rn(to_float(x) * scale);
  }
}

// A block of queries of one head against tiles of keys (Dao, "FlashAttention-2"). Each warp has 16 queries.
template <typename Kv, int D>
__global__ void __launch_bounds__(kThreads) prefill_kernel(const PrefillAttentionArgs a) {
  extern __shared__ __align__(16) unsigned char raw[];
  using Row = __nv_bfloat16[D + kPad];
  Row* keys = reinterpret_cast<Row*>(raw);
  Row* values = keys + kTileKeys;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t head = blockIdx.y;
  const std::int64_t b = blockIdx.z;
  const KvShape shape = a.cache.shape;
  const std::int64_t kv_head = head / (a.num_q_heads / shape.num_kv_heads);
  allow_next_kernel();
  wait_for_previous_kernel();
  const std::int64_t first_position = a.table.context_lens[b] - a.new_tokens;
  const std::int64_t block_row = blockIdx.x * static_cast<std::int64_t>(kRowsPerBlock);
  const std::int64_t block_end = min(block_row + kRowsPerBlock, a.new_tokens);
  const std::int64_t rows[2] = {block_row + warp * 16 + lane / 4, block_row + warp * 16 + lane / 4 + 8};

  const auto* q = static_cast<const __nv_bfloat16*>(a.q);
  std::uint32_t query[D / 16][4];
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::int64_t row = rows[i % 2];
      const std::int64_t at =
          ((b * a.new_tokens + row) * a.num_q_heads + head) * D + step * 16 + i / 2 * 8 + lane % 4 * 2;
      query[step][i] = row < a.new_tokens ? *reinterpret_cast<const std::uint32_t*>(q + at) : 0U;
    }
  }

  const float scale = 1.4426950408889634F * rsqrtf(static_cast<float>(D));  // exp2 instead of exp
  float out[D / 8][4] = {};
  float largest[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0, 0};
  const std::int64_t last_key = first_position + block_end - 1;
  std::int64_t first_key = 0;
  if (a.sliding_window > 0)
    first_key = max(static_cast<std::int64_t>(0), first_position + block_row - a.sliding_window + 1);
  for (std::int64_t tile = first_key / kTileKeys * kTileKeys; tile <= last_key; tile += kTileKeys) {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kTileKeys * D; i += kThreads) {
      const std::int64_t position = tile + i / D;
      __nv_bfloat16 key = __float2bfloat16_rn(0.0F);
      __nv_bfloat16 value = key;
      if (position <= last_key) {
        const std::int64_t page = a.table.physical[b * a.table.max_pages + position / shape.page_size];
        const auto* cache = static_cast<const Kv*>(a.cache.data);
        const std::int64_t slot = position % shape.page_size;
        key = as_bf16(cache[shape.key_offset(page, kv_head, slot) + i % D], a.cache.k_scale);
        value = as_bf16(cache[shape.value_offset(page, kv_head, slot) + i % D], a.cache.v_scale);
      }
      keys[i / D][i % D] = key;
      values[i / D][i % D] = value;
    }
    __syncthreads();

    float logits[kTileKeys / 8][4] = {};
#pragma unroll
    for (int n = 0; n < kTileKeys / 8; ++n) {
#pragma unroll
      for (int step = 0; step < D / 16; ++step) {
        const auto* key = &keys[n * 8 + lane / 4][step * 16 + lane % 4 * 2];
        mma_bf16(logits[n], query[step], *reinterpret_cast<const std::uint32_t*>(key),
                 *reinterpret_cast<const std::uint32_t*>(key + 8));
      }
    }
    float new_largest[2] = {largest[0], largest[1]};
#pragma unroll
    for (int n = 0; n < kTileKeys / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int64_t key = tile + n * 8 + lane % 4 * 2 + i % 2;
        const std::int64_t position = first_position + rows[i / 2];
        const bool visible = key <= position && (a.sliding_window <= 0 || key > position - a.sliding_window);
        logits[n][i] = visible ? logits[n][i] * scale : -INFINITY;
        new_largest[i / 2] = fmaxf(new_largest[i / 2], logits[n][i]);
      }
    }
    float shrink[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      new_largest[r] = fmaxf(new_largest[r], __shfl_xor_sync(0xffffffffU, new_largest[r], 1));
      new_largest[r] = fmaxf(new_largest[r], __shfl_xor_sync(0xffffffffU, new_largest[r], 2));
      // A row that has seen nothing yet keeps its zeros.
      shrink[r] = largest[r] == -INFINITY ? 0.0F : exp2f(largest[r] - new_largest[r]);
      largest[r] = new_largest[r];
      sum[r] *= shrink[r];
    }
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) out[n][i] *= shrink[i / 2];
    }
    std::uint32_t weights[kTileKeys / 16][4];
#pragma unroll
    for (int n = 0; n < kTileKeys / 8; ++n) {
      float p[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        p[i] = logits[n][i] == -INFINITY ? 0.0F : exp2f(logits[n][i] - largest[i / 2]);
        sum[i / 2] += p[i];
      }
      weights[n / 2][n % 2 * 2] = pack_bf16x2(p[0], p[1]);
      weights[n / 2][n % 2 * 2 + 1] = pack_bf16x2(p[2], p[3]);
    }
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) {
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        std::uint32_t b0;
        std::uint32_t b1;
        const auto address =
            static_cast<std::uint32_t>(__cvta_generic_to_shared(&values[step * 16 + lane % 16][n * 8]));
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                     : "=r"(b0), "=r"(b1)
                     : "r"(address));
        mma_bf16(out[n], weights[step], b0, b1);
      }
    }
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] += __shfl_xor_sync(0xffffffffU, sum[r], 1);
    sum[r] += __shfl_xor_sync(0xffffffffU, sum[r], 2);
    if (rows[r] >= a.new_tokens) continue;
    auto* to =
        static_cast<__nv_bfloat16*>(a.out) + ((b * a.new_tokens + rows[r]) * a.num_q_heads + head) * D + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
      *reinterpret_cast<std::uint32_t*>(to + n * 8) = pack_bf16x2(out[n][2 * r] / sum[r], out[n][2 * r + 1] / sum[r]);
    }
  }
}

// Float32: one warp per query and head, lanes across the head's elements.
__global__ void __launch_bounds__(kThreads) prefill_f32_kernel(const PrefillAttentionArgs a) {
  constexpr int kMaxElements = 8;  // per lane: head sizes up to 256
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(kWarps) + threadIdx.x / 32;
  const std::int64_t head = blockIdx.y;
  const std::int64_t b = blockIdx.z;
  const KvShape shape = a.cache.shape;
  const auto d = static_cast<int>(shape.head_dim);
  allow_next_kernel();
  wait_for_previous_kernel();
  if (row >= a.new_tokens) return;
  const std::int64_t kv_head = head / (a.num_q_heads / shape.num_kv_heads);
  const std::int64_t position = a.table.context_lens[b] - a.new_tokens + row;
  const std::int64_t at = ((b * a.new_tokens + row) * a.num_q_heads + head) * d;
  const auto* cache = static_cast<const float*>(a.cache.data);
  float q[kMaxElements] = {};
  float out[kMaxElements] = {};
#pragma unroll
  for (int i = 0; i < kMaxElements; ++i) {
    if (lane + 32 * i < d) q[i] = static_cast<const float*>(a.q)[at + lane + 32 * i];
  }
  float largest = -INFINITY;
  float sum = 0;
  const std::int64_t first = a.sliding_window > 0 ? max(static_cast<std::int64_t>(0), position - a.sliding_window + 1)
                                                  : static_cast<std::int64_t>(0);
  for (std::int64_t p = first; p <= position; ++p) {
    const std::int64_t page = a.table.physical[b * a.table.max_pages + p / shape.page_size];
    const float* key = cache + shape.key_offset(page, kv_head, p % shape.page_size);
    const float* value = cache + shape.value_offset(page, kv_head, p % shape.page_size);
    float dot = 0;
#pragma unroll
    for (int i = 0; i < kMaxElements; ++i) {
      if (lane + 32 * i < d) dot = fmaf(q[i], key[lane + 32 * i], dot);
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) dot += __shfl_xor_sync(0xffffffffU, dot, offset);
    const float logit = dot * rsqrtf(static_cast<float>(d));
    const float new_largest = fmaxf(largest, logit);
    const float shrink = expf(largest - new_largest);
    const float weight = expf(logit - new_largest);
    largest = new_largest;
    sum = sum * shrink + weight;
#pragma unroll
    for (int i = 0; i < kMaxElements; ++i) {
      if (lane + 32 * i < d) out[i] = out[i] * shrink + weight * value[lane + 32 * i];
    }
  }
#pragma unroll
  for (int i = 0; i < kMaxElements; ++i) {
    if (lane + 32 * i < d) static_cast<float*>(a.out)[at + lane + 32 * i] = out[i] / sum;
  }
}

template <typename Kv, int D>
void launch_tiles(const PrefillAttentionArgs& a, cudaStream_t stream) {
  constexpr int kShared = 2 * kTileKeys * (D + kPad) * 2;
  RETROSIM_CUDA_CHECK(
      cudaFuncSetAttribute(prefill_kernel<Kv, D>, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared));
  const dim3 grid(static_cast<unsigned>((a.new_tokens + kRowsPerBlock - 1) / kRowsPerBlock),
                  static_cast<unsigned>(a.num_q_heads), static_cast<unsigned>(a.table.batch));
  launch(prefill_kernel<Kv, D>, grid, kThreads, kShared, stream, a);
}

template <typename Kv>
void launch_head_dim(const PrefillAttentionArgs& a, cudaStream_t stream) {
  switch (a.cache.shape.head_dim) {
    case 64: launch_tiles<Kv, 64>(a, stream); return;
    case 128: launch_tiles<Kv, 128>(a, stream); return;
    case 256: launch_tiles<Kv, 256>(a, stream); return;
    default: throw InputError("", "head_dim", std::to_string(a.cache.shape.head_dim), "64, 128 or 256");
  }
}

}  // namespace

void prefill_attention(const PrefillAttentionArgs& a, cudaStream_t stream) {
  if (a.new_tokens == 0) return;
  switch (a.cache.dtype) {
    case DType::f32: {
      if (a.cache.shape.head_dim > 256) {
        throw InputError("", "head_dim", std::to_string(a.cache.shape.head_dim), "at most 256");
      }
      const dim3 grid(static_cast<unsigned>((a.new_tokens + kWarps - 1) / kWarps), static_cast<unsigned>(a.num_q_heads),
                      static_cast<unsigned>(a.table.batch));
      launch(prefill_f32_kernel, grid, kThreads, 0, stream, a);
      return;
    }
    case DType::bf16: launch_head_dim<__nv_bfloat16>(a, stream); return;
    case DType::fp8_e4m3: launch_head_dim<__nv_fp8_e4m3>(a, stream); return;
    default: throw InputError("", "kv_dtype", name_of(a.cache.dtype), "float32, bfloat16 or fp8");
  }
}

}  // namespace retrosim::kernels::cuda
