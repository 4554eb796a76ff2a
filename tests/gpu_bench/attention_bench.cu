// Decode attention beside its ceiling (reading the same tiles) in the same run, and windows beside window 1: over
// selections that drift and, with traces, over recorded ones (traces/recorded_selection.h). With
// RETROSIM_BENCH_VARIANTS=1 also other loaders, block sizes and split counts.
// usage: attention_bench [--benchmark_...] [TRACE.rtrace ...]
#include <algorithm>
#include <cstdio>
#include <memory>

#include "tests/gpu_bench/bench_context.h"
#include "tests/gpu_bench/decode_workload.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kReplays = 15;
constexpr int kRepetitions = 7;

struct NamedShape {
  std::string name;
  DecodeShape shape;
};

/// The workload in use; a benchmark of another shape replaces it.
DecodeWorkload& workload(const NamedShape& named, int slot = 0) {
  static std::string names[2];
  static std::unique_ptr<DecodeWorkload> current[2];
  if (names[slot] != named.name) {
    current[slot].reset();
    current[slot] = std::make_unique<DecodeWorkload>(named.shape);
    names[slot] = named.name;
  }
  return *current[slot];
}

/// Which kernels a timer launches: attention with its merge (one kernel, where it can be), or the two of it.
enum class Part : std::uint8_t { with_merge, two_kernels, alone, merge_alone };

std::unique_ptr<GraphTimer> attention_timer(DecodeWorkload& load, AttentionTuning tuning, std::int64_t splits,
                                            Part part) {
  std::vector<PagedAttention> layers;
  for (int i = 0; i < load.layers(); ++i) layers.emplace_back(load.cache(i), tuning);
  if (part == Part::merge_alone) {  // what the merge reads
    layers[0].launch(load.attention_args(splits), nullptr);
    RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
  }
  return std::make_unique<GraphTimer>(load.layers(), [&](int i, cudaStream_t stream) {
    const PagedAttentionArgs args = load.attention_args(splits, i);
    const PagedAttention& layer = layers[static_cast<std::size_t>(i)];
    if (part == Part::with_merge) {
      layer.launch_with_merge(args, load.merge_args(args, i), load.exchange(), stream);
      return;
    }
    if (part != Part::merge_alone) layer.launch(args, stream);
    if (part != Part::alone) merge_attention(load.merge_args(args, i), stream);
  });
}

void register_shape(const NamedShape& named, bool variants) {
  const double bytes = named.shape.kv_bytes();
  const int units = named.shape.batch * named.shape.kv_heads;
  const int sms = device_attribute(cudaDevAttrMultiProcessorCount);
  const auto splits_for = [=](double blocks_per_sm) {
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(blocks_per_sm * sms / units));
  };
  std::vector<std::int64_t> tried;
  for (const int blocks : {1, 2, 4, 8}) {
    const std::int64_t splits = splits_for(blocks);
    if (std::find(tried.begin(), tried.end(), splits) != tried.end()) continue;
    tried.push_back(splits);
    register_graph("gather/" + named.name + "/splits_" + std::to_string(splits), bytes, kReplays, kRepetitions,
                   [=](benchmark::State&) {
                     DecodeWorkload& load = workload(named);
                     return std::make_unique<GraphTimer>(load.layers(), [&](int i, cudaStream_t stream) {
                       gather_kv(load.cache(i), load.attention_args(splits, i), load.sink(), stream);
                     });
                   });
  }
  const auto attention = [=](const std::string& suffix, AttentionTuning tuning, std::int64_t splits, Part part) {
    register_graph("attention/" + named.name + suffix, bytes, kReplays, kRepetitions, [=](benchmark::State& state) {
      DecodeWorkload& load = workload(named);
      const std::int64_t used = splits > 0 ? splits : load.default_splits();
      state.counters["splits"] = static_cast<double>(used);
      return attention_timer(load, tuning, used, part);
    });
  };
  attention("/with_merge", {}, 0, Part::with_merge);
  attention("/two_kernels", {}, 0, Part::two_kernels);
  attention("/alone", {}, 0, Part::alone);
  attention("/merge_alone", {}, 0, Part::merge_alone);
  if (!variants) return;
  for (const int stages : {1, 2, 3, 4}) {
    attention("/bulk_warps_8_stages_" + std::to_string(stages), {.stages = stages}, 0, Part::with_merge);
  }
  for (const auto loader : {KvLoader::bulk_tensor, KvLoader::async_copy}) {
    for (const int warps : {4, 8}) {
      const int blocks_per_sm = 8 / warps;
      for (const double waves : {0.5, 1.0, 2.0}) {
        const std::int64_t splits = splits_for(blocks_per_sm * waves);
        attention(std::string(loader == KvLoader::bulk_tensor ? "/bulk" : "/async") + "_warps_" +
                      std::to_string(warps) + "_splits_" + std::to_string(splits),
                  {.loader = loader, .warps = warps, .blocks_per_sm = blocks_per_sm}, splits, Part::with_merge);
      }
    }
  }
}

/// Time at window w over time at window 1, replays interleaved.
void register_window(const NamedShape& at_1, int window) {
  NamedShape at_w = at_1;
  at_w.shape.window = window;
  at_w.name += "_w" + std::to_string(window);
  benchmark::RegisterBenchmark(
      ("window/" + at_w.name).c_str(),
      [=](benchmark::State& state) {
        DecodeWorkload& one = workload(at_1, 0);
        DecodeWorkload& many = workload(at_w, 1);
        const auto timer_1 = attention_timer(one, {}, one.default_splits(), Part::with_merge);
        const auto timer_w = attention_timer(many, {}, many.default_splits(), Part::with_merge);
        constexpr std::size_t kInterleaved = 1000;
        std::vector<double> seconds_1, seconds_w;
        for (std::size_t i = 0; i < kInterleaved; ++i) {
          seconds_1.push_back(timer_1->replay());
          seconds_w.push_back(timer_w->replay());
        }
        std::sort(seconds_1.begin(), seconds_1.end());
        std::sort(seconds_w.begin(), seconds_w.end());
        for (auto _ : state) state.SetIterationTime(seconds_w[kInterleaved / 2]);
        state.counters["ratio_to_window_1"] = seconds_w[kInterleaved / 2] / seconds_1[kInterleaved / 2];
        state.counters["window_1_us"] = seconds_1[kInterleaved / 2] * 1e6;
        state.counters["unseen_visits_over_selected"] = many.unseen_visits();
      })
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond)
      ->Iterations(1)
      ->Repetitions(3);
}

}  // namespace

void register_attention_benchmarks(const std::vector<std::string>& traces) {
  const char* flag = std::getenv("RETROSIM_BENCH_VARIANTS");
  const bool variants = flag != nullptr && std::string(flag) == "1";
  // Sparse, a budget of 0.15: KV bytes of one launch from 5 MB to 320 MB.
  register_shape({"sparse_32k_b1", {}}, variants);
  register_shape({"sparse_32k_b16", {.batch = 16}}, variants);
  register_shape({"dense_32k_b1", {.budget = 0}}, variants);
  register_shape({"dense_32k_b16", {.batch = 16, .budget = 0}}, false);
  register_shape({"sparse_8k_b1", {.context = 8192}}, false);
  register_shape({"sparse_32k_b2", {.batch = 2}}, false);
  register_shape({"sparse_32k_b3", {.batch = 3}}, false);
  register_shape({"sparse_32k_b4", {.batch = 4}}, false);
  register_shape({"sparse_128k_b1", {.context = 131072}}, false);
  register_shape({"sparse_8k_b32", {.batch = 32, .context = 8192}}, false);
  register_shape({"sparse_32k_b16_fp8", {.batch = 16, .dtype = DType::fp8_e4m3}}, variants);
  register_shape({"sparse_32k_b16_d64", {.batch = 16, .head_dim = 64}}, false);
  register_shape({"sparse_32k_b16_d256", {.batch = 16, .head_dim = 256}}, false);
  register_shape({"sparse_32k_b16_p64", {.batch = 16, .page_size = 64}}, false);
  register_shape({"sparse_32k_b16_p8", {.batch = 16, .page_size = 8}}, false);
  for (const int q_heads : {32, 64}) {
    for (const int context : {8192, 32768, 131072}) {
      for (const int batch : {1, 8, 32}) {
        if (context == 131072 && batch == 32) continue;
        const std::string name = "dense_" + std::to_string(context / 1024) + "k_b" + std::to_string(batch) + "_g" +
                                 std::to_string(q_heads / 8);
        register_shape({name, {.batch = batch, .context = context, .budget = 0, .q_heads = q_heads}}, false);
      }
    }
  }
  // Selections that drift, and recorded ones.
  static std::vector<SelectionSchedule> schedules;
  schedules.reserve(2);
  for (const int batch : {1, 16}) {
    NamedShape shape{"drifting_32k_b" + std::to_string(batch), {.batch = batch}};
    for (const int window : {2, 4, 8, 16}) register_window(shape, window);
    if (traces.empty()) continue;
    DecodeConfig config{.llm = find_llm_spec("llama-3.1-8b"),
                        .policy = make_policy("quest", {.budget = shape.shape.budget}),
                        .batch = batch,
                        .context = shape.shape.context};
    schedules.push_back(gpu_bench::load_schedule(traces, config));
    shape.name = "recorded_32k_b" + std::to_string(batch);
    shape.shape.schedule = &schedules.back();
    shape.shape.context = static_cast<int>(schedules.back().first_context + schedules.back().num_steps) - 1;
    for (const int window : {2, 4, 8, 16}) register_window(shape, window);
  }
}

}  // namespace retrosim::kernels::cuda

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (!retrosim::kernels::cuda::gpu_available()) {
    std::fprintf(stderr, "attention_bench: no GPU of compute capability 8.0 or later\n");
    return 1;
  }
  retrosim::kernels::cuda::add_gpu_context();
  retrosim::kernels::cuda::register_attention_benchmarks({argv + 1, argv + argc});
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
