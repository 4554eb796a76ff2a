// Times of work on a stream, between events.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/cuda/check.h"

namespace retrosim::gpu {

/// 0 when there are no values.
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

}  // namespace retrosim::gpu
