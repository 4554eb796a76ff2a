// What a benchmark's JSON says about the machine that it ran on.
#pragma once

#include <benchmark/benchmark.h>
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <string>

#include "kernels/cuda/check.h"

namespace retrosim::kernels::cuda {

/// The revision is taken from the environment variable RETROSIM_REVISION.
inline void add_gpu_context() {
  cudaDeviceProp properties{};
  RETROSIM_CUDA_CHECK(cudaGetDeviceProperties(&properties, 0));
  int driver = 0;
  int runtime = 0;
  RETROSIM_CUDA_CHECK(cudaDriverGetVersion(&driver));
  RETROSIM_CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  const char* revision = std::getenv("RETROSIM_REVISION");
  benchmark::AddCustomContext("gpu", properties.name);
  benchmark::AddCustomContext("cuda_driver", std::to_string(driver));
  benchmark::AddCustomContext("cuda_runtime", std::to_string(runtime));
  benchmark::AddCustomContext("gpu_multiprocessors", std::to_string(properties.multiProcessorCount));
  benchmark::AddCustomContext("gpu_l2_bytes", std::to_string(properties.l2CacheSize));
  benchmark::AddCustomContext("gpu_max_sm_clock_khz", std::to_string(device_attribute(cudaDevAttrClockRate)));
  benchmark::AddCustomContext("gpu_max_memory_clock_khz", std::to_string(device_attribute(cudaDevAttrMemoryClockRate)));
  benchmark::AddCustomContext("revision", revision != nullptr ? revision : "unknown");
}

/// Registers a benchmark of the graph that `make(state)` captures: each repetition's sample is the median of `replays`
/// replays, in time per launch.
template <class MakeTimer>
void register_graph(const std::string& name, double bytes, int replays, int repetitions, MakeTimer make) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [=](benchmark::State& state) {
                                 auto timer = make(state);
                                 for (auto _ : state) {
                                   const double seconds = timer->median(replays);
                                   state.SetIterationTime(seconds);
                                   state.counters["gigabytes_per_s"] = bytes / seconds * 1e-9;
                                 }
                                 state.counters["bytes"] = bytes;
                               })
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond)
      ->Iterations(1)
      ->Repetitions(repetitions);
}

}  // namespace retrosim::kernels::cuda
