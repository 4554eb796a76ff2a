// CPU time of one simulated decode step of Llama-3.1-8B (32 layers) with RetroAttention on an H100: rewriting the step
// graph for the step's demand, pricing it and scheduling it (goal: decode_step <= 200 us). The demands differ from step
// to step, so that nothing is answered from the step before. The other benchmarks are its parts, and the schedule by
// the event queue.
#include <benchmark/benchmark.h>

#include <vector>

#include "sim/decode_simulation.h"

namespace {

using namespace retrosim;

DecodeConfig retro_config(int window) {
  DecodeConfig config;
  config.llm = find_llm_spec("llama-3.1-8b");
  config.policy = make_policy("quest", {.budget = 0.15});
  config.window = window;
  config.context = 32768;
  return config;
}

// 64 steps of a growing context in which about every sixth loaded page is unseen.
std::vector<StepDemand> varying_demand(const DecodeConfig& config) {
  std::vector<StepDemand> steps;
  for (int step = 0; step < 64; ++step) {
    StepDemand demand = demand_without_unseen(config);
    demand.context += step;
    for (std::size_t layer = 0; layer < demand.layers.size(); ++layer) {
      LayerDemand& l = demand.layers[layer];
      l.unseen_union = l.pages_loaded / 6 + step + static_cast<std::int64_t>(layer);
      l.unseen_visits = l.unseen_union * (config.window - 1);
    }
    steps.push_back(demand);
  }
  return steps;
}

void decode_step(benchmark::State& state) {
  const DecodeConfig config = retro_config(static_cast<int>(state.range(0)));
  const std::vector<StepDemand> demand = varying_demand(config);
  DecodeSimulation simulation(config, find_gpu_profile("h100-sxm"));
  std::size_t next = 0;
  for (auto _ : state) benchmark::DoNotOptimize(simulation.step(demand[next++ % demand.size()]));
  state.counters["operations"] = static_cast<double>(simulation.timeline().ops.size());
}

void update_graph(benchmark::State& state) {
  const DecodeConfig config = retro_config(2);
  const std::vector<StepDemand> demand = varying_demand(config);
  StepGraph graph = build_decode_step(config, demand[0]);
  std::size_t next = 0;
  for (auto _ : state) {
    update_decode_step(graph, config, demand[next++ % demand.size()]);
    benchmark::ClobberMemory();
  }
}

std::vector<Price> prices_of(const StepGraph& graph, const Pricer& pricer) {
  std::vector<Price> prices(graph.size());
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) prices[v] = pricer.price(graph.op(v));
  return prices;
}

void price_graph(benchmark::State& state) {
  const DecodeConfig config = retro_config(2);
  const StepGraph graph = build_decode_step(config, varying_demand(config)[0]);
  const Pricer pricer(find_gpu_profile("h100-sxm"));
  for (auto _ : state) benchmark::DoNotOptimize(prices_of(graph, pricer));
}

void schedule(benchmark::State& state, bool always_queue) {
  const DecodeConfig config = retro_config(2);
  const StepGraph graph = build_decode_step(config, varying_demand(config)[0]);
  const Pricer pricer(find_gpu_profile("h100-sxm"));
  const std::vector<Price> prices = prices_of(graph, pricer);
  StepSimulator simulator(graph, pricer.profile().graph_launch_s, pricer.profile().graph_node_s, always_queue);
  for (auto _ : state) benchmark::DoNotOptimize(simulator.run(prices).latency);
}

}  // namespace

BENCHMARK(decode_step)->Arg(2)->Arg(8)->Unit(benchmark::kMicrosecond);
BENCHMARK(update_graph)->Unit(benchmark::kMicrosecond);
BENCHMARK(price_graph)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(schedule, single_stream, false)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(schedule, event_queue, true)->Unit(benchmark::kMicrosecond);

BENCHMARK_MAIN();
