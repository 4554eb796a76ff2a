// What a recorder does on the CPU after the model: ordering pages by score, and packing rankings into the container.
// Counter entries_per_s: ranked pages per second; packing uses up to 16 threads, so compare CPU time as well.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <random>
#include <vector>

#include "traces/record_page_ranker.h"
#include "traces/trace_reader.h"
#include "traces/trace_writer.h"

namespace retrosim {
namespace {

void count_entries(benchmark::State& state, std::int64_t entries) {
  state.counters["entries_per_s"] = benchmark::Counter(static_cast<double>(entries), benchmark::Counter::kIsRate);
}

// argument: pages
void order_scores(benchmark::State& state) {
  constexpr std::int64_t kLists = 256;  // more than a branch predictor learns
  const std::int64_t pages = state.range(0);
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 10);
  std::vector<float> scores(static_cast<std::size_t>(kLists * pages));
  for (float& score : scores) score = normal(random);
  const std::vector<float> mass(static_cast<std::size_t>(pages), 0.001F);
  PageRanks ranks;
  std::int64_t list = 0;
  for (auto _ : state) {
    order_pages(std::span(scores).subspan(static_cast<std::size_t>(list * pages), static_cast<std::size_t>(pages)),
                mass, 0, ranks);
    list = (list + 1) % kLists;
  }
  count_entries(state, state.iterations() * pages);
}
BENCHMARK(order_scores)->Arg(512)->Arg(2048)->ArgName("pages");

// The novel's sample: 192 steps, 8 layers, 3 KV heads, 501 to 512 pages.
struct Sample {
  TraceHeader header;
  std::vector<LayerColumns> layers;  // [chunks][layers]
  std::vector<StepRecord> steps;
  std::int64_t entries = 0;
};

const Sample& sample() {
  static const Sample made = [] {
    const TraceReader reader(RETROSIM_SOURCE_DIR "/traces/samples/smollm2-135m-pride.rtrace");
    Sample s;
    s.header = reader.header();
    s.header.mass_scale = kMassScaleName;
    const std::size_t layers = s.header.recorded_layers.size();
    s.layers.resize(static_cast<std::size_t>(reader.num_chunks()) * layers);
    for (std::int64_t chunk = 0; chunk < reader.num_chunks(); ++chunk) {
      for (std::size_t slot = 0; slot < layers; ++slot) {
        reader.read_layer(chunk, static_cast<int>(slot), s.layers[static_cast<std::size_t>(chunk) * layers + slot]);
      }
    }
    for (std::int64_t step = 0; step < reader.num_steps(); ++step) {
      const std::int64_t chunk = reader.chunk_of_step(step);
      StepRecord& record = s.steps.emplace_back();
      record.position = s.header.first_position + step;
      record.num_pages = s.header.num_pages(record.position);
      for (std::size_t slot = 0; slot < layers; ++slot) {
        for (int head = 0; head < s.header.num_kv_heads; ++head) {
          const HeadRanking ranking =
              s.layers[static_cast<std::size_t>(chunk) * layers + slot].at(step - reader.chunk(chunk).first_step, head);
          record.heads.push_back({.pages = ranking.pages, .mass = ranking.mass, .rest = ranking.rest});
          s.entries += std::ssize(ranking.pages);
        }
      }
    }
    return s;
  }();
  return made;
}

// argument: steps handed over together
void pack_novel(benchmark::State& state) {
  const Sample& s = sample();
  const auto together = static_cast<std::size_t>(state.range(0));
  const auto file =
      std::filesystem::temp_directory_path() / ("retrosim_pack_" + std::to_string(::getpid()) + ".rtrace");
  for (auto _ : state) {
    TraceWriter writer(file, s.header);
    for (std::size_t step = 0; step < s.steps.size(); step += together) {
      writer.add_steps(std::span(s.steps).subspan(step, std::min(together, s.steps.size() - step)));
    }
    writer.close();
  }
  std::filesystem::remove(file);
  count_entries(state, state.iterations() * s.entries);
}
BENCHMARK(pack_novel)->Arg(1)->Arg(64)->ArgName("together")->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
}  // namespace retrosim

BENCHMARK_MAIN();
