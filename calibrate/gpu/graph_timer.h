// Times work on the GPU by replaying a CUDA graph between two events.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "kernels/cuda/check.h"

namespace retrosim::gpu {

/// A graph of `launches` launches; launch i should use the i-th set of buffers, so that together they exceed the L2.
class GraphTimer {
 public:
  GraphTimer(int launches, const std::function<void(int, cudaStream_t)>& launch) : launches_(launches) {
    RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    RETROSIM_CUDA_CHECK(cudaEventCreate(&begin_));
    RETROSIM_CUDA_CHECK(cudaEventCreate(&end_));
    launch(0, stream_);  // module load and attributes stay out of the capture
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
    RETROSIM_CUDA_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < launches; ++i) launch(i, stream_);
    cudaGraph_t graph = nullptr;
    RETROSIM_CUDA_CHECK(cudaStreamEndCapture(stream_, &graph));
    RETROSIM_CUDA_CHECK(cudaGraphInstantiate(&graph_, graph, 0));
    RETROSIM_CUDA_CHECK(cudaGraphDestroy(graph));
    for (int i = 0; i < 3; ++i) replay();
  }
  GraphTimer(const GraphTimer&) = delete;
  GraphTimer& operator=(const GraphTimer&) = delete;
  ~GraphTimer() {
    cudaGraphExecDestroy(graph_);
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }

  /// Seconds per launch of one replay.
  double replay() {
    RETROSIM_CUDA_CHECK(cudaEventRecord(begin_, stream_));
    RETROSIM_CUDA_CHECK(cudaGraphLaunch(graph_, stream_));
    RETROSIM_CUDA_CHECK(cudaEventRecord(end_, stream_));
    RETROSIM_CUDA_CHECK(cudaEventSynchronize(end_));
    float milliseconds = 0;
    RETROSIM_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, begin_, end_));
    return static_cast<double>(milliseconds) * 1e-3 / launches_;
  }

  /// Median of `replays` replays, seconds per launch.
  double median(int replays) {
    std::vector<double> seconds(static_cast<std::size_t>(replays));
    for (double& s : seconds) s = replay();
    std::nth_element(seconds.begin(), seconds.begin() + replays / 2, seconds.end());
    return seconds[static_cast<std::size_t>(replays / 2)];
  }

 private:
  int launches_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
  cudaGraphExec_t graph_ = nullptr;
};

/// How many sets of buffers of `bytes` each, so that by the time one comes round again the L2 has been filled four
/// times.
inline int buffer_sets(double bytes) {
  const double l2 = kernels::cuda::device_attribute(cudaDevAttrL2CacheSize);
  return static_cast<int>(std::clamp(std::ceil(4 * l2 / bytes), 1.0, 64.0));
}

}  // namespace retrosim::gpu
