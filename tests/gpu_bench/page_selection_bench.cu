// Page scoring beside its ceiling (reading the same summaries), top-k, and the building of summaries.
#include <cstdio>
#include <memory>

#include "kernels/page_score/page_score_cuda.h"
#include "kernels/page_summary/page_summary_cuda.h"
#include "kernels/top_k/top_k_cuda.h"
#include "tests/gpu_bench/bench_context.h"
#include "tests/gpu_bench/decode_workload.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kReplays = 15;
constexpr int kRepetitions = 7;

/// Summaries of as many layers as exceed the L2.
struct ScoreWorkload {
  ScoreWorkload(int batch, int pages)
      : shape{.num_pages = static_cast<std::int64_t>(batch) * pages,
              .num_kv_heads = 8,
              .page_size = 16,
              .head_dim = 128},
        bytes(static_cast<double>(shape.summary_size()) * 2),
        layers(buffer_sets(bytes)) {
    std::mt19937 random(1);
    std::vector<std::int32_t> pages_list(static_cast<std::size_t>(shape.num_pages));
    std::iota(pages_list.begin(), pages_list.end(), 0);
    std::shuffle(pages_list.begin(), pages_list.end(), random);
    physical = DeviceBuffer<std::int32_t>(pages_list);
    lens = DeviceBuffer<std::int32_t>(std::vector<std::int32_t>(static_cast<std::size_t>(batch), pages * 16));
    k = DeviceBuffer<std::int32_t>(
        std::vector<std::int32_t>(static_cast<std::size_t>(batch), static_cast<std::int32_t>(std::ceil(0.15 * pages))));
    q = DeviceBuffer<std::uint8_t>(static_cast<std::size_t>(batch) * 32 * 128 * 2);
    fill_random(q.data(), q.size(), 7);
    for (int i = 0; i < layers; ++i) {
      summaries.emplace_back(static_cast<std::size_t>(bytes));
      fill_random(summaries.back().data(), summaries.back().size(), static_cast<std::uint32_t>(i));
    }
    scores = DeviceBuffer<float>(static_cast<std::size_t>(batch) * 8 * pages);
    selected = DeviceBuffer<std::int32_t>(static_cast<std::size_t>(batch) * 8 * pages);
    counts = DeviceBuffer<std::int32_t>(static_cast<std::size_t>(batch) * 8);
    sink = DeviceBuffer<std::uint32_t>(1);
    table = {.batch = batch, .max_pages = pages, .physical = physical.data(), .context_lens = lens.data()};
  }
  PageScoreArgs score_args(int layer) {
    return {.shape = shape,
            .table = table,
            .num_q_heads = 32,
            .q = q.data(),
            .q_stride = 32 * 128,
            .summaries = summaries[static_cast<std::size_t>(layer)].data(),
            .scores = scores.data()};
  }
  TopKArgs top_k_args() {
    return {.table = table,
            .page_size = 16,
            .lists_per_sequence = 8,
            .k_max = table.max_pages,
            .scores = scores.data(),
            .k = k.data(),
            .selected = selected.data(),
            .counts = counts.data()};
  }

  KvShape shape;
  double bytes;
  int layers;
  DevicePageTable table;
  DeviceBuffer<std::int32_t> physical, lens, k, selected, counts;
  DeviceBuffer<std::uint8_t> q;
  std::vector<DeviceBuffer<std::uint8_t>> summaries;
  DeviceBuffer<float> scores;
  DeviceBuffer<std::uint32_t> sink;
};

ScoreWorkload& workload(int batch, int pages) {
  static int of_batch = 0;
  static int of_pages = 0;
  static std::unique_ptr<ScoreWorkload> current;
  if (of_batch != batch || of_pages != pages) {
    current.reset();
    current = std::make_unique<ScoreWorkload>(batch, pages);
    of_batch = batch;
    of_pages = pages;
  }
  return *current;
}

void register_shape(int batch, int pages) {
  const std::string name = std::to_string(pages) + "_pages_b" + std::to_string(batch);
  const double bytes = 2.0 * 128 * 2 * 8 * pages * batch;
  register_graph("gather_summaries/" + name, bytes, kReplays, kRepetitions, [=](benchmark::State&) {
    ScoreWorkload& load = workload(batch, pages);
    return std::make_unique<GraphTimer>(load.layers, [&](int i, cudaStream_t stream) {
      gather_summaries(load.score_args(i), load.sink.data(), stream);
    });
  });
  register_graph("page_scores/" + name, bytes, kReplays, kRepetitions, [=](benchmark::State&) {
    ScoreWorkload& load = workload(batch, pages);
    return std::make_unique<GraphTimer>(load.layers,
                                        [&](int i, cudaStream_t stream) { page_scores(load.score_args(i), stream); });
  });
  register_graph("top_k/" + name, 4.0 * 8 * pages * batch, kReplays, kRepetitions, [=](benchmark::State&) {
    ScoreWorkload& load = workload(batch, pages);
    page_scores(load.score_args(0), nullptr);
    RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
    return std::make_unique<GraphTimer>(20, [&](int, cudaStream_t stream) { select_top_k(load.top_k_args(), stream); });
  });
  register_graph("scores_and_top_k/" + name, bytes, kReplays, kRepetitions, [=](benchmark::State&) {
    ScoreWorkload& load = workload(batch, pages);
    return std::make_unique<GraphTimer>(load.layers, [&](int i, cudaStream_t stream) {
      page_scores(load.score_args(i), stream);
      select_top_k(load.top_k_args(), stream);
    });
  });
}

void register_summaries(int batch, int pages) {
  const DecodeShape shape{.batch = batch, .context = pages * 16, .budget = 0};
  register_graph(
      "build_summaries/" + std::to_string(pages) + "_pages_b" + std::to_string(batch), shape.kv_bytes() / 2, kReplays,
      kRepetitions, [=](benchmark::State&) {
        static DecodeWorkload load(shape);
        static DeviceBuffer<std::uint8_t> summaries(static_cast<std::size_t>(load.cache(0).shape.summary_size()) * 2);
        return std::make_unique<GraphTimer>(load.layers(), [&](int i, cudaStream_t stream) {
          build_page_summaries(load.cache(i), load.attention_args(1).table, summaries.data(), stream);
        });
      });
}

}  // namespace

void register_page_selection_benchmarks() {
  for (const int batch : {1, 4, 16, 32}) register_shape(batch, 2048);
  register_shape(1, 512);
  register_shape(1, 8192);
  register_shape(4, 8192);
  register_summaries(4, 2048);
}

}  // namespace retrosim::kernels::cuda

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (!retrosim::kernels::cuda::gpu_available()) {
    std::fprintf(stderr, "page_selection_bench: no GPU of compute capability 8.0 or later\n");
    return 1;
  }
  retrosim::kernels::cuda::add_gpu_context();
  retrosim::kernels::cuda::register_page_selection_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
