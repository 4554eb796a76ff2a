// Requests of the conversation workload on 16 replicas of Llama-3.1-8B on an H100, one thread: time against requests.
#include <benchmark/benchmark.h>

#include "sim/serving/serving_simulation.h"
#include "sim/workload/presets.h"
#include "sim/workload/synthetic.h"

namespace {

using namespace retrosim;

void BM_Serving(benchmark::State& state) {
  ServingConfig config;
  config.decode.llm = find_llm_spec("llama-3.1-8b");
  config.decode.policy = make_policy("full", {});
  config.decode.dense_layers = 0;
  config.num_replicas = 16;
  const GpuProfile gpu = find_gpu_profile("h100-sxm");
  const WorkloadPreset& preset = find_workload_preset("azure-conv", "");
  // 5.5 requests/s per replica: the rate of the trace that the lengths are from.
  const Workload workload = synthetic_workload({ArrivalKind::poisson, 5.5 * config.num_replicas, 1}, preset.input,
                                               preset.output, state.range(0), 1);
  std::int64_t steps = 0;
  for (auto _ : state) steps = simulate_serving(config, gpu, workload).totals.steps;
  state.counters["steps"] = static_cast<double>(steps);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Serving)->Arg(10'000)->Arg(100'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
