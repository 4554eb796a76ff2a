// Replay of one head at a 32k context (all windows 1..16 in one pass) beside the set-based oracle, and container
// decoding. Counter visits_per_s: pages in S_t per second, per core. RETROSIM_TRACE=<file> also measures that file.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/traces/replay_oracle.h"
#include "tests/traces/synthetic_trace.h"
#include "traces/replay.h"
#include "traces/trace_reader.h"

namespace retrosim {
namespace {

constexpr std::int64_t kSteps = 256;

/// One head of one layer, `context` tokens at the first step, in memory.
const std::vector<SyntheticStep>& rankings(std::int64_t context) {
  static std::map<std::int64_t, std::vector<SyntheticStep>> made;
  std::vector<SyntheticStep>& steps = made[context];
  if (steps.empty()) {
    TraceHeader header = synthetic_header(context, kSteps);
    header.recorded_layers = {0};
    header.num_kv_heads = 1;
    SyntheticRankings source(header, 0.1, 1);
    for (std::int64_t i = 0; i < kSteps; ++i) steps.push_back(source.next());
  }
  return steps;
}

HeadRanking ranking_of(const SyntheticStep& step) {
  return {step.position, step.num_pages, step.pages[0], step.mass[0], step.rest[0]};
}

void set_visits(benchmark::State& state, std::int64_t visits) {
  state.counters["visits_per_s"] = benchmark::Counter(static_cast<double>(visits), benchmark::Counter::kIsRate);
}

// arguments: context in tokens, with recall (0 or 1)
void replay(benchmark::State& state) {
  const auto& steps = rankings(state.range(0));
  const auto policy = make_policy("quest", {.budget = 0.15});
  HeadReplay head(*policy, 16, 16, state.range(1) != 0);
  std::int64_t visits = 0;
  for (auto _ : state) {
    head.reset();
    for (const SyntheticStep& step : steps) visits += head.advance(ranking_of(step)).pages_loaded;
  }
  set_visits(state, visits);
}
BENCHMARK(replay)->ArgsProduct({{8192, 32768}, {0, 1}})->ArgNames({"context", "recall"});

void replay_oracle(benchmark::State& state) {
  const auto& steps = rankings(state.range(0));
  const auto policy = make_policy("quest", {.budget = 0.15});
  std::int64_t visits = 0;
  for (auto _ : state) {
    ReplayOracle oracle(*policy, 16, 16);
    for (const SyntheticStep& step : steps) visits += oracle.advance(ranking_of(step)).pages_loaded;
  }
  set_visits(state, visits);
}
BENCHMARK(replay_oracle)->Arg(8192)->ArgName("context")->Iterations(1);

class TraceFile {
 public:
  TraceFile() {
    if (const char* given = std::getenv("RETROSIM_TRACE")) {
      file_ = given;
      return;
    }
    made_ = true;
    file_ = std::filesystem::temp_directory_path() / ("retrosim_bench_" + std::to_string(::getpid()) + ".rtrace");
    TraceHeader header = synthetic_header(8192, kSteps);
    header.num_kv_heads = 3;
    header.num_layers = 8;
    header.recorded_layers = {0, 1, 2, 3, 4, 5, 6, 7};
    TraceWriter writer(file_, header);
    SyntheticRankings source(header, 0.1, 2);
    for (std::int64_t i = 0; i < kSteps; ++i) writer.add_step(source.next().record());
    writer.close();
  }
  ~TraceFile() {
    if (made_) std::filesystem::remove(file_);
  }
  const std::filesystem::path& path() const { return file_; }

 private:
  std::filesystem::path file_;
  bool made_ = false;
};

/// Decodes every layer of every chunk. bytes_per_second counts decoded columns, 8 bytes per entry (page id and mass, 4
/// each); raw_bytes_per_s the columns as they are before compression.
void decode(benchmark::State& state) {
  const TraceFile file;
  const TraceReader reader(file.path());
  LayerColumns columns;
  std::int64_t raw = 0;
  for (auto _ : state) {
    for (std::int64_t chunk = 0; chunk < reader.num_chunks(); ++chunk) {
      for (std::size_t slot = 0; slot < reader.header().recorded_layers.size(); ++slot) {
        reader.read_layer(chunk, static_cast<int>(slot), columns);
        raw += reader.chunk(chunk).blocks[slot].raw_bytes;
      }
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * reader.num_entries() * 8);
  state.counters["raw_bytes_per_s"] = benchmark::Counter(static_cast<double>(raw), benchmark::Counter::kIsRate);
  state.counters["bytes_per_entry"] =
      static_cast<double>(reader.file_bytes()) / static_cast<double>(reader.num_entries());
}
BENCHMARK(decode)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace retrosim

BENCHMARK_MAIN();
