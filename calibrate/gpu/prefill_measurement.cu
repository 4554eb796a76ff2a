#include <numeric>

#include "calibrate/gpu/graph_timer.h"
#include "calibrate/gpu/prefill_measurement.h"
#include "kernels/cuda/device_buffer.h"
#include "kernels/cuda_step/random_fill.h"
#include "kernels/prefill_attention/prefill_attention_cuda.h"

namespace retrosim::gpu {
namespace {

using namespace retrosim::kernels::cuda;

constexpr int kLaunches = 3;
constexpr int kReplays = 5;
constexpr int kPageSize = 16;

struct Heads {
  std::int64_t q;
  std::int64_t kv;
  std::int64_t dim;
};

GraphSample measure(const PrefillAttentionShape& shape) {
  const std::int64_t context = shape.context_before + shape.new_tokens;
  const std::int64_t pages = (context + kPageSize - 1) / kPageSize;
  const kernels::KvShape kv{.num_pages = shape.batch * pages,
                            .num_kv_heads = shape.num_kv_heads,
                            .page_size = kPageSize,
                            .head_dim = shape.head_dim};
  DeviceBuffer<unsigned char> cache(static_cast<std::size_t>(bytes_of(shape.kv_dtype, kv.kv_size())));
  fill_random(cache.data(), shape.kv_dtype, kv.kv_size(), 1.0F, 1, nullptr);
  std::vector<std::int32_t> order(static_cast<std::size_t>(kv.num_pages));
  std::iota(order.begin(), order.end(), 0);
  const DeviceBuffer<std::int32_t> physical(order);
  const DeviceBuffer<std::int32_t> lens(
      std::vector<std::int32_t>(static_cast<std::size_t>(shape.batch), static_cast<std::int32_t>(context)));
  const std::int64_t elements = shape.batch * shape.new_tokens * shape.num_q_heads * shape.head_dim;
  DeviceBuffer<unsigned char> q(static_cast<std::size_t>(2 * elements));
  DeviceBuffer<unsigned char> out(static_cast<std::size_t>(2 * elements));
  fill_random(q.data(), DType::bf16, elements, 1.0F, 2, nullptr);
  RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
  GraphTimer timer(kLaunches, [&](int, cudaStream_t stream) {
    prefill_attention(
        {.cache = {.shape = kv, .dtype = shape.kv_dtype, .data = cache.data()},
         .table = {.batch = shape.batch, .max_pages = pages, .physical = physical.data(), .context_lens = lens.data()},
         .num_q_heads = shape.num_q_heads,
         .new_tokens = shape.new_tokens,
         .q = q.data(),
         .out = out.data()},
        stream);
  });
  GraphSample sample{.part = "chain"};
  sample.ops.push_back({.name = "prefill_attention", .shape = shape, .count = kLaunches, .distinct = 1});
  for (int i = 0; i < kReplays; ++i) sample.samples_us.push_back(timer.replay() * 1e6 * kLaunches);
  return sample;
}

}  // namespace

std::vector<GraphSample> measure_prefill_attention(cudaStream_t) {
  std::vector<GraphSample> samples;
  for (const Heads& heads : {Heads{32, 8, 128}, Heads{14, 2, 64}, Heads{40, 8, 128}}) {
    for (const std::int64_t batch : {1, 4}) {
      for (const std::int64_t tokens : {64, 256, 1024, 4096}) {
        for (const std::int64_t before : {0, 2048, 16384}) {
          if (tokens * (before + tokens) * batch > (12LL << 20)) continue;  // over ten milliseconds
          const DType dtype = batch == 4 && before == 2048 ? DType::fp8_e4m3 : DType::bf16;
          samples.push_back(measure({.batch = batch,
                                     .new_tokens = tokens,
                                     .context_before = before,
                                     .num_q_heads = heads.q,
                                     .num_kv_heads = heads.kv,
                                     .head_dim = heads.dim,
                                     .kv_dtype = dtype}));
        }
      }
    }
  }
  return samples;
}

}  // namespace retrosim::gpu
