#include <algorithm>
#include <string>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda_step/eight.cuh"
#include "kernels/rope_append/rope_append_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kMinWarps = 8;
constexpr int kMaxWarps = 16;
constexpr int kMaxPairs = 4;      // per lane: head sizes up to 256
constexpr int kKeysInFlight = 8;  // loads of one thread while it recomputes a page's range

template <typename Kv>
__device__ __forceinline__ Kv store_kv(float x, float inverse_scale) {
  if constexpr (std::is_same_v<Kv, __nv_fp8_e4m3>) {
    return __nv_fp8_e4m3(x * inverse_scale);
  } else {
    return from_float<Kv>(x);
  }
}

template <typename Kv>
__device__ __forceinline__ Kv load_kv(const Kv* p) {
  if constexpr (std::is_same_v<Kv, float>) {
    return __ldcg(p);
  } else if constexpr (std::is_same_v<Kv, __nv_bfloat16>) {
    return __ldcg(p);
  } else {
    Kv out;
    out.__x = __ldcg(reinterpret_cast<const unsigned char*>(p));
    return out;
  }
}

template <typename In>
__device__ __forceinline__ float load_product(const ProductView& view, std::int64_t index) {
  const In* p = static_cast<const In*>(view.data) + index;
  float sum = to_float(__ldcg(p));
#pragma unroll 4
  for (int i = 1; i < view.splits; ++i) sum += to_float(__ldcg(p + i * view.split_stride));
  return sum;
}

// One head of one row: pair j of a lane is (lane + 32 j, lane + 32 j + head_dim / 2).
struct HeadVector {
  float low[kMaxPairs];
  float high[kMaxPairs];
};

template <typename In>
__device__ __forceinline__ HeadVector load_head(const ProductView& view, std::int64_t offset, int half, int lane) {
  HeadVector v{};
#pragma unroll
  for (int j = 0; j < kMaxPairs; ++j) {
    const int i = lane + 32 * j;
    if (i < half) {
      v.low[j] = load_product<In>(view, offset + i);
      v.high[j] = load_product<In>(view, offset + half + i);
    }
  }
  return v;
}

template <typename T>
__device__ __forceinline__ void normalize(HeadVector& v, const T* gain, float eps, int half, int lane) {
  float squares = 0;
#pragma unroll
  for (int j = 0; j < kMaxPairs; ++j) squares += v.low[j] * v.low[j] + v.high[j] * v.high[j];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) squares += __shfl_xor_sync(0xffffffffU, squares, offset);
  const float scale = rsqrtf(squares / static_cast<float>(2 * half) + eps);
#pragma unroll
  for (int j = 0; j < kMaxPairs; ++j) {
    const int i = lane + 32 * j;
    if (i < half) {
      v.low[j] *= scale * to_float(gain[i]);
      v.high[j] *= scale * to_float(gain[half + i]);
    }
  }
}

// The angle in turns is reduced in double: at position 10^5 a float32 angle is off by several thousandths.
__device__ __forceinline__ void rotate(HeadVector& v, std::int64_t position, const double (&frequency)[kMaxPairs]) {
  constexpr double kTurnsPerRadian = 0.15915494309189533577;
#pragma unroll
  for (int j = 0; j < kMaxPairs; ++j) {
    const double turns = static_cast<double>(position) * (frequency[j] * kTurnsPerRadian);
    float sine;
    float cosine;
    sincospif(2.0F * static_cast<float>(turns - rint(turns)), &sine, &cosine);
    const float low = v.low[j];
    v.low[j] = low * cosine - v.high[j] * sine;
    v.high[j] = v.high[j] * cosine + low * sine;
  }
}

// Every block asks for its share, a warp's lanes in turn.
__device__ __forceinline__ void prefetch_share(const void* data, std::int64_t bytes, int lane) {
#if __CUDA_ARCH__ >= 900
  constexpr std::int64_t kPiece = 16384;
  const std::int64_t blocks = static_cast<std::int64_t>(gridDim.x) * gridDim.y;
  const std::int64_t block = static_cast<std::int64_t>(blockIdx.y) * gridDim.x + blockIdx.x;
  for (std::int64_t piece = block * 32 + lane; piece < bytes / kPiece; piece += blocks * 32) {
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(static_cast<const char*>(data) + piece * kPiece),
                 "r"(static_cast<int>(kPiece))
                 : "memory");
  }
#endif
}

// Block (x, b): x < num_kv_heads stores K and V of that head for all rows and refreshes its summaries; the others
// rotate one query head each.
template <typename T, typename Kv, typename In>
__global__ void __launch_bounds__(kMaxWarps * 32) rope_append_kernel(const RopeAppendArgs a) {
  extern __shared__ float new_keys[];  // [window, head_dim], as stored
  const KvShape shape = a.cache.shape;
  const auto head_dim = static_cast<int>(shape.head_dim);
  const int half = head_dim / 2;
  const auto kv_heads = static_cast<int>(shape.num_kv_heads);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t b = blockIdx.y;
  allow_next_kernel();
  double frequency[kMaxPairs] = {};
#pragma unroll
  for (int j = 0; j < kMaxPairs; ++j) {
    if (lane + 32 * j < half) frequency[j] = a.inverse_frequencies[lane + 32 * j];
  }
  wait_for_previous_kernel();

  if (warp == warps - 1) prefetch_share(a.prefetch, a.prefetch_bytes, lane);
  const std::int64_t t = __ldcg(a.table.context_lens + b) - 1;
  const std::int64_t row_size = (a.num_q_heads + 2 * shape.num_kv_heads) * head_dim;
  const std::int64_t first_row = b * a.window;
  if (static_cast<int>(blockIdx.x) >= kv_heads) {
    const std::int64_t head = blockIdx.x - kv_heads;
    for (int s = warp; s < a.window; s += warps) {
      HeadVector v = load_head<In>(a.qkv, (first_row + s) * row_size + head * head_dim, half, lane);
      if (a.q_gain != nullptr) normalize(v, static_cast<const T*>(a.q_gain), a.eps, half, lane);
      rotate(v, t - s, frequency);
      T* out = static_cast<T*>(a.q) + ((first_row + s) * a.num_q_heads + head) * head_dim;
#pragma unroll
      for (int j = 0; j < kMaxPairs; ++j) {
        const int i = lane + 32 * j;
        if (i < half) {
          out[i] = from_float<T>(v.low[j]);
          out[half + i] = from_float<T>(v.high[j]);
        }
      }
    }
    return;
  }

  const int head = static_cast<int>(blockIdx.x);
  const std::int32_t* pages = a.table.physical + b * a.table.max_pages;
  Kv* cache = static_cast<Kv*>(a.cache.data);
  const int touched = a.overwrites ? min(__ldcg(a.num_rows + b), static_cast<int>(t) + 1) : 1;
  for (int task = warp; task < 2 * touched; task += warps) {
    const int s = task / 2;
    const bool is_key = task % 2 == 0;
    const std::int64_t position = t - s;
    const std::int64_t page = pages[position / shape.page_size];
    const std::int64_t slot = position % shape.page_size;
    HeadVector v = load_head<In>(
        a.qkv, (first_row + s) * row_size + (a.num_q_heads + head + (is_key ? 0 : kv_heads)) * head_dim, half, lane);
    if (is_key) {
      if (a.k_gain != nullptr) normalize(v, static_cast<const T*>(a.k_gain), a.eps, half, lane);
      rotate(v, position, frequency);
    }
    const float scale = is_key ? a.cache.k_scale : a.cache.v_scale;
    Kv* out = cache + (is_key ? shape.key_offset(page, head, slot) : shape.value_offset(page, head, slot));
#pragma unroll
    for (int j = 0; j < kMaxPairs; ++j) {
      const int i = lane + 32 * j;
      if (i >= half) continue;
      const Kv low = store_kv<Kv>(v.low[j], 1.0F / scale);
      const Kv high = store_kv<Kv>(v.high[j], 1.0F / scale);
      out[i] = low;
      out[half + i] = high;
      if (is_key) {
        new_keys[s * head_dim + i] = to_float(low) * scale;
        new_keys[s * head_dim + half + i] = to_float(high) * scale;
      }
    }
  }
  if (a.refresh == host::SummaryRefresh::none) return;
  __syncthreads();

  // Each thread keeps one element of one touched page's range.
  const std::int64_t first_touched = t - touched + 1;
  const std::int64_t first_page = first_touched / shape.page_size;
  const auto num_pages = static_cast<int>(t / shape.page_size - first_page + 1);
  const bool recompute = a.refresh == host::SummaryRefresh::recompute && touched > 1;
  for (int item = static_cast<int>(threadIdx.x); item < num_pages * head_dim; item += static_cast<int>(blockDim.x)) {
    const int element = item % head_dim;
    const std::int64_t logical = first_page + item / head_dim;
    const std::int64_t page = pages[logical];
    const std::int64_t start = logical * shape.page_size;
    const std::int64_t end = min(start + shape.page_size, t + 1);
    const std::int64_t first_new = max(start, first_touched);
    T* low_out = static_cast<T*>(a.summaries) + shape.min_offset(page, head) + element;
    T* high_out = static_cast<T*>(a.summaries) + shape.max_offset(page, head) + element;
    float low = INFINITY;
    float high = -INFINITY;
    // A page that the current token opens has no older range; with `recompute` old keys take the old range's place.
    if (recompute) {
      const Kv* keys = cache + shape.key_offset(page, head, 0) + element;
      for (std::int64_t position = start; position < first_new; position += kKeysInFlight) {
        Kv loaded[kKeysInFlight];
#pragma unroll
        for (int i = 0; i < kKeysInFlight; ++i) {
          loaded[i] = load_kv(keys + (min(position + i, first_new - 1) - start) * head_dim);
        }
#pragma unroll
        for (int i = 0; i < kKeysInFlight; ++i) {
          const float key = to_float(loaded[i]) * a.cache.k_scale;
          low = fminf(low, key);
          high = fmaxf(high, key);
        }
      }
    } else if (start < t) {
      low = to_float(__ldcg(low_out));
      high = to_float(__ldcg(high_out));
    }
    for (std::int64_t position = first_new; position < end; ++position) {
      const float key = new_keys[(t - position) * head_dim + element];
      low = fminf(low, key);
      high = fmaxf(high, key);
    }
    *low_out = from_float<T>(low);
    *high_out = from_float<T>(high);
  }
}

template <typename T, typename Kv, typename In>
void launch_typed(const RopeAppendArgs& a, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(a.num_q_heads + a.cache.shape.num_kv_heads),
                  static_cast<unsigned>(a.table.batch));
  const auto shared = static_cast<std::size_t>(a.overwrites ? a.window : 1) *
                      static_cast<std::size_t>(a.cache.shape.head_dim) * sizeof(float);
  if (shared > 48 * 1024) {
    RETROSIM_CUDA_CHECK(cudaFuncSetAttribute(rope_append_kernel<T, Kv, In>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             static_cast<int>(shared)));
  }
  // A warp for every key and value that a block stores, within limits.
  const auto warps = static_cast<unsigned>(std::clamp<std::int64_t>(2 * a.window, kMinWarps, kMaxWarps));
  cuda::launch(rope_append_kernel<T, Kv, In>, grid, warps * 32, shared, stream, a);
}

template <typename Kv>
void launch_bf16(const RopeAppendArgs& a, cudaStream_t stream) {
  if (a.qkv.dtype == DType::f32) {
    launch_typed<__nv_bfloat16, Kv, float>(a, stream);
  } else {
    launch_typed<__nv_bfloat16, Kv, __nv_bfloat16>(a, stream);
  }
}

}  // namespace

void rope_append(const RopeAppendArgs& a, cudaStream_t stream) {
  const std::int64_t head_dim = a.cache.shape.head_dim;
  if (head_dim < 2 || head_dim % 2 != 0 || head_dim > kMaxPairs * 64) {
    throw InputError("", "head_dim", std::to_string(head_dim), "an even number, at most 256");
  }
  switch (a.cache.dtype) {
    case DType::f32: launch_typed<float, float, float>(a, stream); return;
    case DType::bf16: launch_bf16<__nv_bfloat16>(a, stream); return;
    case DType::fp8_e4m3: launch_bf16<__nv_fp8_e4m3>(a, stream); return;
    default: throw InputError("", "kv_dtype", name_of(a.cache.dtype), "float32, bfloat16 or fp8");
  }
}

}  // namespace retrosim::kernels::cuda
