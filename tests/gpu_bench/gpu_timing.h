// What the GPU benchmarks share: event times, the machine's own ceilings, and what is written beside the samples.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/cuda/device_buffer.h"

namespace retrosim::gpu_bench {

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

/// A pair of events around work on a stream.
class EventPair {
 public:
  EventPair() {
    RETROSIM_CUDA_CHECK(cudaEventCreate(&start_));
    RETROSIM_CUDA_CHECK(cudaEventCreate(&stop_));
  }
  EventPair(const EventPair&) = delete;
  EventPair& operator=(const EventPair&) = delete;
  ~EventPair() {
    cudaEventDestroy(start_);
    cudaEventDestroy(stop_);
  }
  void begin(cudaStream_t stream) { RETROSIM_CUDA_CHECK(cudaEventRecord(start_, stream)); }
  void end(cudaStream_t stream) { RETROSIM_CUDA_CHECK(cudaEventRecord(stop_, stream)); }
  /// Waits for the end.
  double microseconds() const {
    RETROSIM_CUDA_CHECK(cudaEventSynchronize(stop_));
    float milliseconds = 0;
    RETROSIM_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, start_, stop_));
    return 1e3 * milliseconds;
  }

 private:
  cudaEvent_t start_ = nullptr;
  cudaEvent_t stop_ = nullptr;
};

/// Times of `repeats` runs of `work(i)`, enqueued without waiting in between. Microseconds.
inline std::vector<double> time_each(int repeats, cudaStream_t stream, const std::function<void(int)>& work) {
  std::vector<std::unique_ptr<EventPair>> events;
  for (int i = 0; i < repeats; ++i) {
    events.push_back(std::make_unique<EventPair>());
    events.back()->begin(stream);
    work(i);
    events.back()->end(stream);
  }
  std::vector<double> times;
  for (const auto& pair : events) times.push_back(pair->microseconds());
  return times;
}

/// Device-to-device copy of 4 GiB, bytes read plus bytes written per second: the median of nine.
inline double copy_bandwidth(cudaStream_t stream) {
  constexpr std::size_t kBytes = 4ULL << 30;
  kernels::cuda::DeviceBuffer<unsigned char> from(kBytes);
  kernels::cuda::DeviceBuffer<unsigned char> to(kBytes);
  from.fill_bytes(0x5a);
  const std::vector<double> times = time_each(11, stream, [&](int) {
    RETROSIM_CUDA_CHECK(cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, stream));
  });
  return 2.0 * static_cast<double>(kBytes) / (1e-6 * median({times.begin() + 2, times.end()}));
}

/// First line that `command` prints, or "".
inline std::string first_line(const char* command) {
  std::array<char, 256> line{};
  FILE* pipe = popen(command, "r");
  if (pipe == nullptr) return "";
  const bool read = std::fgets(line.data(), static_cast<int>(line.size()), pipe) != nullptr;
  pclose(pipe);
  std::string text = read ? line.data() : "";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

/// Device, driver, clocks and code revision (RETROSIM_REVISION in the environment, as the GPU machine may have no git).
inline nlohmann::json provenance() {
  cudaDeviceProp device{};
  RETROSIM_CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
  int driver = 0;
  int runtime = 0;
  RETROSIM_CUDA_CHECK(cudaDriverGetVersion(&driver));
  RETROSIM_CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  const char* revision = std::getenv("RETROSIM_REVISION");
  return {
      {"device", device.name},
      {"sm_count", device.multiProcessorCount},
      {"l2_bytes", device.l2CacheSize},
      {"cuda_driver", driver},
      {"cuda_runtime", runtime},
      {"driver_and_clocks_mhz",
       first_line("nvidia-smi --query-gpu=driver_version,clocks.sm,clocks.mem,clocks.max.sm --format=csv,noheader")},
      {"git_revision", revision != nullptr ? revision : "unknown"}};
}

/// Prints to the file called `path`, or to stdout when it is empty.
inline void write_json(const nlohmann::json& document, const std::string& path) {
  const std::string text = document.dump(1);
  FILE* file = path.empty() ? stdout : std::fopen(path.c_str(), "w");
  if (file == nullptr) throw std::runtime_error("cannot write " + path);
  std::fwrite(text.data(), 1, text.size(), file);
  std::fputc('\n', file);
  if (file != stdout) std::fclose(file);
}

}  // namespace retrosim::gpu_bench
