#include <string>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/page_summary/page_summary_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {

namespace {

/// 16 bytes of keys, widened.
template <class Kv>
struct KeyVector {
  static constexpr int kElements = 16 / static_cast<int>(sizeof(Kv));
  union {
    uint4 raw;
    Kv elements[kElements];
  };
  __device__ KeyVector() : raw{} {}
};

/// One thread per 16 bytes of a page's keys of one head. grid: (pages of a sequence * kv heads * chunks / 128, batch).
template <class Kv, class Summary>
__global__ void __launch_bounds__(128)
    summary_kernel(KvShape shape, const Kv* kv, float k_scale, DevicePageTable table, Summary* summaries) {
  using Vector = KeyVector<Kv>;
  wait_for_previous_kernel();
  const int chunks = static_cast<int>(shape.head_dim) / Vector::kElements;
  const std::int64_t sequence = blockIdx.y;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t head = index / chunks % shape.num_kv_heads;
  const std::int64_t logical = index / chunks / shape.num_kv_heads;
  const std::int64_t first = static_cast<std::int64_t>(index % chunks) * Vector::kElements;
  const std::int64_t tokens = min(shape.page_size, table.context_lens[sequence] - logical * shape.page_size);
  if (logical >= table.max_pages || tokens <= 0) return;
  const std::int64_t page = table.physical[sequence * table.max_pages + logical];
  const Kv* keys = kv + shape.key_offset(page, head, 0) + first;
  float low[Vector::kElements];
  float high[Vector::kElements];
#pragma unroll
  for (int i = 0; i < Vector::kElements; ++i) {
    low[i] = INFINITY;
    high[i] = -INFINITY;
  }
#pragma unroll 8
  for (std::int64_t token = 0; token < tokens; ++token) {
    Vector vector;
    vector.raw = *reinterpret_cast<const uint4*>(keys + token * shape.head_dim);
#pragma unroll
    for (int i = 0; i < Vector::kElements; ++i) {
      const float key = to_float(vector.elements[i]);
      low[i] = fminf(low[i], key);
      high[i] = fmaxf(high[i], key);
    }
  }
#pragma unroll
  for (int i = 0; i < Vector::kElements; ++i) {
    summaries[shape.min_offset(page, head) + first + i] = from_float<Summary>(low[i] * k_scale);
    summaries[shape.max_offset(page, head) + first + i] = from_float<Summary>(high[i] * k_scale);
  }
}

template <class Kv, class Summary>
void build(const DeviceKvCache& cache, const DevicePageTable& table, void* summaries, cudaStream_t stream) {
  const std::int64_t chunks = cache.shape.head_dim * static_cast<std::int64_t>(sizeof(Kv)) / 16;
  const std::int64_t threads = table.max_pages * cache.shape.num_kv_heads * chunks;
  const dim3 grid(static_cast<unsigned>((threads + 127) / 128), static_cast<unsigned>(table.batch));
  launch(summary_kernel<Kv, Summary>, grid, dim3(128), 0, stream, cache.shape, static_cast<const Kv*>(cache.data),
         cache.k_scale, table, static_cast<Summary*>(summaries));
}

}  // namespace

void build_page_summaries(const DeviceKvCache& cache, const DevicePageTable& table, void* summaries,
                          cudaStream_t stream) {
  if (cache.shape.head_dim % 16 != 0) {
    throw InputError("", "head_dim", std::to_string(cache.shape.head_dim), "a multiple of 16");
  }
  switch (cache.dtype) {
    case DType::bf16: return build<__nv_bfloat16, __nv_bfloat16>(cache, table, summaries, stream);
    case DType::fp8_e4m3: return build<__nv_fp8_e4m3, __nv_bfloat16>(cache, table, summaries, stream);
    case DType::f32: return build<float, float>(cache, table, summaries, stream);
    default: throw InputError("", "kv_cache_dtype", std::string(name_of(cache.dtype)), "bfloat16, fp8 or float32");
  }
}

}  // namespace retrosim::kernels::cuda
