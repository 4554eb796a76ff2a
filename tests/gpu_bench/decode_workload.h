// One layer's decode attention at a given shape, with random data and a page selection that drifts from step to step.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "calibrate/gpu/graph_timer.h"
#include "kernels/attention/attention_cuda.h"
#include "kernels/attention_merge/attention_merge_cuda.h"
#include "kernels/cuda/device_buffer.h"
#include "model/attention_splits.h"
#include "tests/gpu_bench/recorded_schedule.h"

namespace retrosim::kernels::cuda {

using gpu::buffer_sets;
using gpu::GraphTimer;

/// Uniform bits turned into floats of magnitude 2^-2 .. 2^2 in every bf16 (or magnitude 2^-3..2^1 in e4m3).
static __global__ void fill_random(std::uint32_t* words, std::size_t count, std::uint32_t seed, bool fp8) {
  for (std::size_t i = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<std::size_t>(gridDim.x) * blockDim.x) {
    std::uint64_t x = (i + 1) * 0x9E3779B97F4A7C15ULL + seed;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    const auto bits = static_cast<std::uint32_t>(x >> 32);
    words[i] = fp8 ? (bits & 0x9f9f9f9fU) + 0x20202020U : (bits & 0x81ff81ffU) + 0x3e803e80U;
  }
}

inline void fill_random(void* data, std::size_t bytes, std::uint32_t seed, bool fp8 = false) {
  fill_random<<<1024, 256>>>(static_cast<std::uint32_t*>(data), bytes / 4, seed, fp8);
  RETROSIM_CUDA_CHECK(cudaGetLastError());
}

struct DecodeShape {
  int batch = 1;
  int context = 32768;
  double budget = 0.15;  // share of the pages; 0: dense
  int window = 1;
  int q_heads = 32;
  int kv_heads = 8;
  int head_dim = 128;
  int page_size = 16;
  DType dtype = DType::bf16;
  // Recorded selections, of its last step at this context; null: selections that drift. Must outlive the workload.
  const SelectionSchedule* schedule = nullptr;

  int pages() const { return (context + page_size - 1) / page_size; }
  int selected() const { return budget > 0 ? static_cast<int>(std::ceil(budget * pages())) : pages(); }
  double kv_bytes() const {
    return 2.0 * batch * kv_heads * std::min(selected() * page_size, context) * head_dim * bits_of(dtype) / 8;
  }
};

/// Page scores follow a first-order autoregression whose top-k keeps about 5/6 of its pages from step to step.
struct Selection {
  std::vector<std::int32_t> selected;     // ascending, the last page included
  std::vector<std::int32_t> last_loaded;  // before this step
};
inline Selection drifting_selection(int pages, int k, int position, int steps, std::mt19937& random) {
  constexpr float kCorrelation = 0.955F;
  const float noise = std::sqrt(1 - kCorrelation * kCorrelation);
  std::normal_distribution<float> normal;
  std::vector<float> scores(static_cast<std::size_t>(pages));
  for (float& score : scores) score = normal(random);
  Selection result;
  result.last_loaded.assign(static_cast<std::size_t>(pages), -1);
  std::vector<std::int32_t> order(static_cast<std::size_t>(pages));
  for (int step = steps; step >= 0; --step) {
    for (float& score : scores) score = kCorrelation * score + noise * normal(random);
    scores.back() = 1e9F;
    std::iota(order.begin(), order.end(), 0);
    std::nth_element(order.begin(), order.begin() + k - 1, order.end(), [&](int a, int b) {
      return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
    });
    result.selected.assign(order.begin(), order.begin() + k);
    if (step > 0) {
      for (const std::int32_t page : result.selected)
        result.last_loaded[static_cast<std::size_t>(page)] = position - step;
    }
  }
  std::sort(result.selected.begin(), result.selected.end());
  return result;
}

/// Buffers for `shape`: as many layers' KV caches as it takes to exceed the L2, everything else once.
class DecodeWorkload {
 public:
  explicit DecodeWorkload(const DecodeShape& shape) : shape_(shape), layers_(buffer_sets(shape.kv_bytes())) {
    std::mt19937 random(1);
    const std::int64_t pages = shape.pages();
    const std::int64_t k = shape.selected();
    const KvShape kv{.num_pages = shape.batch * pages,
                     .num_kv_heads = shape.kv_heads,
                     .page_size = shape.page_size,
                     .head_dim = shape.head_dim};
    std::vector<std::int32_t> physical(static_cast<std::size_t>(kv.num_pages));
    std::iota(physical.begin(), physical.end(), 0);
    std::shuffle(physical.begin(), physical.end(), random);
    physical_ = DeviceBuffer<std::int32_t>(physical);
    context_lens_ =
        DeviceBuffer<std::int32_t>(std::vector<std::int32_t>(static_cast<std::size_t>(shape.batch), shape.context));
    num_rows_ =
        DeviceBuffer<std::int32_t>(std::vector<std::int32_t>(static_cast<std::size_t>(shape.batch), shape.window));
    table_ = {
        .batch = shape.batch, .max_pages = pages, .physical = physical_.data(), .context_lens = context_lens_.data()};
    const std::size_t kv_bytes = static_cast<std::size_t>(bytes_of(shape.dtype, kv.kv_size()));
    for (int layer = 0; layer < layers_; ++layer) {
      kv_.emplace_back(kv_bytes);
      fill_random(kv_.back().data(), kv_bytes, static_cast<std::uint32_t>(layer), shape.dtype == DType::fp8_e4m3);
      caches_.push_back({.shape = kv, .dtype = shape.dtype, .data = kv_.back().data()});
    }
    if (shape.budget > 0) {
      std::vector<std::int32_t> selected, last_loaded;
      for (int layer = 0; layer < layers_; ++layer) {
        for (int list = 0; list < shape.batch * shape.kv_heads; ++list) {
          const Selection one =
              shape.schedule != nullptr
                  ? recorded_selection_of(layer, list)
                  : drifting_selection(static_cast<int>(pages), static_cast<int>(k), shape.context - 1, 20, random);
          selected.insert(selected.end(), one.selected.begin(), one.selected.end());
          last_loaded.insert(last_loaded.end(), one.last_loaded.begin(), one.last_loaded.end());
          for (const std::int32_t page : one.selected) {
            for (int age = 1; age < shape.window; ++age) {
              unseen_visits_ += one.last_loaded[static_cast<std::size_t>(page)] < shape.context - 1 - age ? 1 : 0;
            }
          }
        }
      }
      selected_ = DeviceBuffer<std::int32_t>(selected);
      last_loaded_ = DeviceBuffer<std::int32_t>(last_loaded);
      stamps_ = DeviceBuffer<std::int32_t>(last_loaded);
      counts_ = DeviceBuffer<std::int32_t>(std::vector<std::int32_t>(
          static_cast<std::size_t>(shape.batch * shape.kv_heads), static_cast<std::int32_t>(k)));
      unseen_visits_ /= static_cast<double>(selected.size());
    }
    const std::size_t rows = static_cast<std::size_t>(shape.batch) * shape.window * shape.q_heads;
    q_ = DeviceBuffer<std::uint8_t>(rows * shape.head_dim * 2);
    fill_random(q_.data(), q_.size(), 99);
    out_ = DeviceBuffer<std::uint8_t>(rows * shape.head_dim * 2);
    ring_values_ = DeviceBuffer<std::uint8_t>(rows * shape.head_dim * 2);
    ring_lse_ = DeviceBuffer<float>(rows);
    ring_values_.fill_bytes(0);
    ring_lse_.fill_bytes(0);
    partial_values_ = DeviceBuffer<float>(rows * kMaxSplits * shape.head_dim);
    partial_lse_ = DeviceBuffer<float>(rows * kMaxSplits);
    exchange_values_ = DeviceBuffer<float>(partial_values_.size());
    exchange_lse_ = DeviceBuffer<float>(partial_lse_.size());
    exchange_values_.fill_bytes(0xff);
    exchange_lse_.fill_bytes(0xff);
    sink_ = DeviceBuffer<std::uint32_t>(1);
    RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
  }

  const DecodeShape& shape() const { return shape_; }
  int layers() const { return layers_; }
  /// Visits of older rows to pages that they have not seen, per selected page.
  double unseen_visits() const { return unseen_visits_; }
  const DeviceKvCache& cache(int layer) const { return caches_[static_cast<std::size_t>(layer)]; }
  std::uint32_t* sink() { return sink_.data(); }
  std::int64_t default_splits() const {
    const int sms = device_attribute(cudaDevAttrMultiProcessorCount);
    return attention_splits(shape_.batch, shape_.kv_heads, std::int64_t{shape_.selected()} * shape_.page_size, sms);
  }

  AttentionPartials exchange() { return {exchange_values_.data(), exchange_lse_.data()}; }

  /// Every layer has its own selection. As in a step, a selection says that the queries were ready before.
  PagedAttentionArgs attention_args(std::int64_t splits, int layer = 0) {
    PagedAttentionArgs args{.table = table_,
                            .num_q_heads = shape_.q_heads,
                            .window = shape_.window,
                            .num_splits = std::min<std::int64_t>(splits, kMaxSplits),
                            .q = q_.data(),
                            .num_rows = num_rows_.data(),
                            .partials = {partial_values_.data(), partial_lse_.data()}};
    if (shape_.budget > 0) {
      args.num_lists = shape_.kv_heads;
      args.k_max = shape_.selected();
      const std::int64_t lists = std::int64_t{layer} * shape_.batch * shape_.kv_heads;
      args.early_queries = true;
      args.selected = selected_.data() + lists * shape_.selected();
      args.counts = counts_.data();
      args.last_loaded = shape_.window > 1 ? last_loaded_.data() + lists * shape_.pages() : nullptr;
    }
    return args;
  }
  /// Stamps a copy of last_loaded, so that every replay finds the same unseen pages.
  AttentionMergeArgs merge_args(const PagedAttentionArgs& args, int layer = 0) {
    AttentionMergeArgs merge{.dtype = activation_dtype(shape_.dtype),
                             .table = table_,
                             .num_q_heads = shape_.q_heads,
                             .head_dim = shape_.head_dim,
                             .window = shape_.window,
                             .num_splits = args.num_splits,
                             .partials = args.partials,
                             .num_rows = num_rows_.data(),
                             .slots = shape_.window - 1,
                             .cache_values = ring_values_.data(),
                             .cache_lse = ring_lse_.data(),
                             .out = out_.data()};
    if (args.selected != nullptr && shape_.window > 1) {
      merge.last_loaded = stamps_.data() + std::int64_t{layer} * shape_.batch * shape_.kv_heads * shape_.pages();
      merge.page_size = shape_.page_size;
      merge.num_lists = args.num_lists;
      merge.k_max = args.k_max;
      merge.selected = args.selected;
      merge.counts = args.counts;
    }
    return merge;
  }

 private:
  /// Of one list at the schedule's last step; the workload's layers follow the schedule's sparse ones in turn.
  Selection recorded_selection_of(int layer, int list) const {
    const SelectionSchedule& schedule = *shape_.schedule;
    std::vector<int> sparse;
    for (std::size_t i = 0; i < schedule.layers.size(); ++i) {
      if (!schedule.layers[i].counts.empty()) sparse.push_back(static_cast<int>(i));
    }
    const int source = sparse[static_cast<std::size_t>(layer) % sparse.size()];
    const SelectionSchedule::Layer& of_layer = schedule.layers[static_cast<std::size_t>(source)];
    const std::int64_t step = schedule.num_steps - 1;
    const std::int64_t row = step * schedule.batch * schedule.num_kv_heads + list;
    const auto first = of_layer.pages.begin() + row * schedule.k_max;
    Selection out{{first, first + of_layer.counts[static_cast<std::size_t>(row)]},
                  gpu_bench::last_loaded_before(schedule, source, list, step, shape_.pages())};
    if (schedule.first_context + step != shape_.context || schedule.batch != shape_.batch ||
        static_cast<int>(out.selected.size()) != shape_.selected()) {
      throw std::logic_error("a schedule of another shape");
    }
    return out;
  }

  static constexpr std::int64_t kMaxSplits = 64;
  DecodeShape shape_;
  int layers_;
  double unseen_visits_ = 0;
  std::vector<DeviceBuffer<std::uint8_t>> kv_;
  std::vector<DeviceKvCache> caches_;
  DeviceBuffer<std::int32_t> physical_, context_lens_, num_rows_, selected_, counts_, last_loaded_, stamps_;
  DeviceBuffer<std::uint8_t> q_, out_, ring_values_;
  DeviceBuffer<float> ring_lse_, partial_values_, partial_lse_, exchange_values_, exchange_lse_;
  DeviceBuffer<std::uint32_t> sink_;
  DevicePageTable table_;
};

}  // namespace retrosim::kernels::cuda
