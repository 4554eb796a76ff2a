// Whole decode steps as replays of a captured CUDA graph: Llama-3.1-8B's shape, every layer with its own weights,
// windows interleaved, against the byte floor of the step graph at the copy bandwidth measured in the same run. With
// traces every step attends to recorded selections (traces/recorded_selection.h), else to those of random weights.
// usage: step_bench [--context N] [--batch N] [--budget F] [--rounds N] [--layers N] [--traces A.rtrace,B.rtrace]
//                   [--out OUT.json]
#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <set>

#include "calibrate/gpu/device_info.h"
#include "calibrate/gpu/event_timing.h"
#include "kernels/cuda_step/step_executor.h"
#include "tests/gpu_bench/recorded_schedule.h"

namespace retrosim::gpu_bench {
namespace {

using namespace retrosim::gpu;
using namespace retrosim::kernels::cuda;

struct Options {
  std::int64_t context = 32768;
  std::int64_t batch = 1;
  double budget = 0.15;
  int rounds = 300;
  int layers = 0;
  std::int64_t selection_prefetch_mib = 0;
  std::int64_t own_prefetch_kib = StepTuning{}.own_prefetch_bytes_per_block >> 10;
  std::int64_t next_prefetch_kib = StepTuning{}.next_prefetch_bytes_per_block >> 10;
  std::vector<int> windows{1, 2, 8};
  std::vector<std::string> traces;
  std::string out;
};

// Replays before any that counts: older rows and what they have seen come to be.
constexpr int kWarmUp = 32;

struct Run {
  /// `schedule` null: the selections of random weights.
  Run(const Options& options, const LlmSpec& llm, int window, const SelectionSchedule* schedule, DecodeWeights& weights,
      cudaStream_t stream)
      : config{.llm = llm,
               .policy = make_policy("quest", {.budget = options.budget}),
               .window = window,
               .batch = options.batch,
               .context = schedule != nullptr ? schedule->first_context + schedule->num_steps / 2 : options.context,
               .sm_count = device_attribute(cudaDevAttrMultiProcessorCount),
               .merges_in_attention = true,
               .few_row_products = true},
        steps(schedule != nullptr ? schedule->num_steps : options.rounds + 2 * kWarmUp),
        graph(build_decode_step(config, demand_without_unseen(config))),
        state(config, config.context + steps / 2 + 1, 1),
        executor(config, graph, weights, state,
                 {.selection_prefetch_bytes = options.selection_prefetch_mib << 20,
                  .own_prefetch_bytes_per_block = options.own_prefetch_kib << 10,
                  .next_prefetch_bytes_per_block = options.next_prefetch_kib << 10}) {
    state.fill_random(3, stream);
    if (schedule != nullptr) executor.follow(*schedule);
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
    executor.capture();
  }

  /// Back to the first step, with nothing loaded yet, and kWarmUp replays from there.
  void restart(cudaStream_t stream) {
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
    state.set_position(config.context - steps / 2, 1);
    for (DecodeLayerState& layer : state.layers) {
      if (layer.last_loaded.size() > 0) layer.last_loaded.fill_bytes(0xff);
    }
    RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
    for (int i = 0; i < kWarmUp; ++i) executor.replay(stream);
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
  }

  DecodeConfig config;
  std::int64_t steps;  // from a restart on; the graph describes the middle one
  StepGraph graph;
  DecodeState state;
  StepExecutor executor;
  std::vector<double> samples_us;
};

// Share of the pages selected now that were selected a step ago, mean over sparse layers, sequences and KV heads.
double overlap(Run& run, cudaStream_t stream) {
  std::vector<std::vector<std::vector<std::vector<std::int32_t>>>> before;
  double kept = 0;
  double all = 0;
  for (int step = 0; step < 2; ++step) {
    run.executor.replay(stream);
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
    std::size_t index = 0;
    for (int layer = run.config.first_sparse_layer(); layer < run.config.llm.num_layers; ++layer, ++index) {
      const auto now = run.executor.selected(layer);
      if (step == 0) {
        before.push_back(now);
        continue;
      }
      for (std::size_t b = 0; b < now.size(); ++b) {
        for (std::size_t h = 0; h < now[b].size(); ++h) {
          const std::set<std::int32_t> old(before[index][b][h].begin(), before[index][b][h].end());
          for (const std::int32_t page : now[b][h]) kept += old.count(page) != 0 ? 1 : 0;
          all += static_cast<double>(now[b][h].size());
        }
      }
    }
  }
  return kept / all;
}

nlohmann::json op_times(Run& run, cudaStream_t stream) {
  constexpr int kRepeats = 9;
  std::map<std::string, std::vector<std::vector<double>>> by_name;  // name -> repeat -> times
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    for (const OpTime& time : run.executor.time_ops(stream)) {
      auto& times = by_name[run.graph.op(time.vertex).name];
      times.resize(kRepeats);
      times[static_cast<std::size_t>(repeat)].push_back(time.microseconds);
    }
  }
  nlohmann::json out = nlohmann::json::array();
  for (const auto& [name, repeats] : by_name) {
    std::vector<double> medians;
    for (const auto& times : repeats) medians.push_back(median(times));
    out.push_back({{"name", name}, {"count", repeats[0].size()}, {"latency_us_p50", median(medians)}});
    std::printf("  %-20s x%3zu %8.2f us\n", name.c_str(), repeats[0].size(), median(medians));
  }
  return out;
}

void run_all(const Options& options) {
  cudaStream_t stream = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const double copy = copy_bandwidth(stream);
  std::printf("copy %.0f GB/s (read + written)\n", 1e-9 * copy);
  LlmSpec llm = find_llm_spec("llama-3.1-8b");
  if (options.layers > 0) llm.num_layers = options.layers;
  int widest = 1;
  for (const int window : options.windows) widest = std::max(widest, window);
  DecodeWeights weights(llm, DType::bf16, options.batch * widest, options.batch);
  weights.fill_random(1, stream);

  std::unique_ptr<SelectionSchedule> schedule;
  if (!options.traces.empty()) {
    const DecodeConfig config{.llm = llm,
                              .policy = make_policy("quest", {.budget = options.budget}),
                              .batch = options.batch,
                              .context = options.context};
    schedule = std::make_unique<SelectionSchedule>(load_schedule(options.traces, config));
  }
  std::vector<std::unique_ptr<Run>> runs;
  for (const int window : options.windows) {
    runs.push_back(std::make_unique<Run>(options, llm, window, schedule.get(), weights, stream));
  }
  // Interleaved: what drifts, drifts for all.
  const int per_restart = static_cast<int>(std::min<std::int64_t>(runs[0]->steps - kWarmUp, options.rounds));
  for (int done = 0; done < options.rounds; done += per_restart) {
    for (const auto& run : runs) run->restart(stream);
    const int now = std::min(per_restart, options.rounds - done);
    const int count = static_cast<int>(runs.size());
    const std::vector<double> times = time_each(
        now * count, stream, [&](int i) { runs[static_cast<std::size_t>(i % count)]->executor.replay(stream); });
    for (std::size_t i = 0; i < times.size(); ++i) runs[i % runs.size()]->samples_us.push_back(times[i]);
  }

  nlohmann::json results = nlohmann::json::array();
  double quest_us = 0;
  for (const auto& run : runs) {
    const double us = median(run->samples_us);
    if (run->config.window == 1) quest_us = us;
    std::vector<double> paired;
    for (std::size_t i = 0; i < run->samples_us.size(); ++i)
      paired.push_back(run->samples_us[i] - runs[0]->samples_us[i]);
    const auto bytes = static_cast<double>(total_traffic(run->graph).hbm());
    const double floor_us = 1e6 * bytes / copy;
    const std::size_t kernels = run->executor.num_kernels();
    std::size_t in_layers = 0;
    for (StepGraph::Vertex v = 0; v < run->graph.size(); ++v) {
      in_layers += run->graph.op(v).layer == run->config.llm.num_layers - 1 ? 1U : 0U;
    }
    run->restart(stream);
    const double kept = overlap(*run, stream);
    const double unseen = schedule ? unseen_visits_per_page(*schedule, run->config.window, run->config.page_size) : -1;
    std::vector<double> sorted = run->samples_us;
    std::sort(sorted.begin(), sorted.end());
    const double p05 = sorted[sorted.size() / 20];
    const double p95 = sorted[sorted.size() * 19 / 20];
    std::printf(
        "w %2d: %9.1f us (5-95 %%: %.1f-%.1f)  floor %9.1f us  ratio %.4f  over w=1 %+.1f us (paired %+.1f)  kernels "
        "%zu, %zu "
        "per sparse layer  overlap %.3f\n",
        run->config.window, us, p05, p95, floor_us, us / floor_us, us - quest_us, median(paired), kernels, in_layers,
        kept);
    if (schedule) std::printf("  unseen visits per selected page %.3f\n", unseen);
    run->restart(stream);
    nlohmann::json ops = op_times(*run, stream);
    results.push_back({{"window", run->config.window},
                       {"latency_us_p50", us},
                       {"latency_us_p05", p05},
                       {"latency_us_p95", p95},
                       {"hbm_bytes", bytes},
                       {"floor_us", floor_us},
                       {"step_over_floor", us / floor_us},
                       {"over_window_1_us_paired_p50", median(paired)},
                       {"kernels_captured", kernels},
                       {"ops_in_graph", run->graph.size()},
                       {"kernels_per_sparse_layer", in_layers},
                       {"overlap_topk", kept},
                       {"ops", ops},
                       {"samples_us", run->samples_us}});
    if (schedule) results.back()["unseen_visits_per_selected_page"] = unseen;
  }
  if (!options.out.empty()) {
    write_json({{"schema", "retrosim.step_bench/1"},
                {"provenance", provenance()},
                {"llm", "llama-3.1-8b"},
                {"num_layers", llm.num_layers},
                {"context", runs[0]->config.context},
                {"traces", options.traces},
                {"batch", options.batch},
                {"budget", options.budget},
                {"page_size", 16},
                {"dense_layers", 2},
                {"copy_bandwidth_bytes_per_s", copy},
                {"results", results}},
               options.out);
  }
}

}  // namespace
}  // namespace retrosim::gpu_bench

int main(int argc, char** argv) {
  retrosim::gpu_bench::Options options;
  CLI::App app("Whole decode steps on the GPU");
  app.add_option("--context", options.context, "tokens");
  app.add_option("--batch", options.batch, "sequences");
  app.add_option("--budget", options.budget, "fraction of pages");
  app.add_option("--rounds", options.rounds, "replays of each window");
  app.add_option("--layers", options.layers, "layers; 0: the model's");
  app.add_option("--windows", options.windows, "windows, interleaved")->delimiter(',');
  app.add_option("--selection-prefetch-mib", options.selection_prefetch_mib, "prefetch of o_proj by rope_append");
  app.add_option("--own-prefetch-kib", options.own_prefetch_kib, "prefetch of a product's own weights per block");
  app.add_option("--next-prefetch-kib", options.next_prefetch_kib, "prefetch of the next product's weights per block");
  app.add_option("--traces", options.traces, "recorded selections to follow")->delimiter(',');
  app.add_option("--out", options.out, "JSON file");
  CLI11_PARSE(app, argc, argv);
  retrosim::gpu_bench::run_all(options);
  return 0;
}
