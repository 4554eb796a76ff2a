#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>

#include "calibrate/gpu/event_timing.h"
#include "calibrate/gpu/launch_measurement.h"
#include "kernels/cuda/device_buffer.h"
#include "kernels/cuda/launch.h"
#include "kernels/page_recall/page_recall_cuda.h"

namespace retrosim::gpu {
namespace {

using kernels::cuda::DeviceBuffer;

constexpr int kRepeats = 11;
constexpr int kWarm = 2;

__global__ void do_nothing() {}

__global__ void do_nothing_after_the_previous() {
  kernels::cuda::wait_for_previous_kernel();
  kernels::cuda::allow_next_kernel();
}

/// Reads `count` 16-byte words, several in flight per thread.
__global__ void __launch_bounds__(512) stream_read(const uint4* data, std::size_t count, std::uint32_t* sink) {
  std::uint32_t x = 0;
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i + 3 * stride < count; i += 4 * stride) {
    uint4 v[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) v[j] = data[i + j * stride];
#pragma unroll
    for (int j = 0; j < 4; ++j) x ^= v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  for (; i < count; i += stride) x ^= data[i].x;
  if (x == 0x12345678U) *sink = x;
}

struct FreePinned {
  void operator()(void* memory) const { cudaFreeHost(memory); }
};
using Pinned = std::unique_ptr<void, FreePinned>;

Pinned pinned(std::size_t bytes) {
  void* memory = nullptr;
  RETROSIM_CUDA_CHECK(cudaMallocHost(&memory, bytes));
  return Pinned(memory);
}

std::vector<double> repeated(cudaStream_t stream, const std::function<void(int)>& work) {
  std::vector<double> times = time_each(kRepeats + kWarm, stream, work);
  times.erase(times.begin(), times.begin() + kWarm);
  return times;
}

GraphSample graph_nodes(int nodes, bool early_start, int replays, cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < nodes; ++i) {
    if (early_start) {
      kernels::cuda::launch(do_nothing_after_the_previous, dim3(1), dim3(32), 0, stream);
    } else {
      do_nothing<<<1, 32, 0, stream>>>();
    }
  }
  RETROSIM_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  RETROSIM_CUDA_CHECK(cudaGraphInstantiate(&executable, graph, 0));
  GraphSample sample{.part = "graph_nodes"};
  sample.samples_us = repeated(stream, [&](int) {
    for (int i = 0; i < replays; ++i) RETROSIM_CUDA_CHECK(cudaGraphLaunch(executable, stream));
  });
  sample.figures = {{"nodes", nodes}, {"early_start", early_start ? 1 : 0}, {"replays", replays}};
  RETROSIM_CUDA_CHECK(cudaGraphExecDestroy(executable));
  RETROSIM_CUDA_CHECK(cudaGraphDestroy(graph));
  return sample;
}

GraphSample copies(const char* part, void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  GraphSample sample{.part = part};
  sample.samples_us =
      repeated(stream, [&](int) { RETROSIM_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream)); });
  sample.figures = {{"bytes", static_cast<double>(bytes)}};
  return sample;
}

/// `count` copies to the GPU, handed over in one batch, of pages that lie apart on both sides.
GraphSample batch_of_copies(int count, std::size_t bytes, cudaStream_t stream) {
  const std::size_t stride = 2 * bytes;
  const Pinned host = pinned(stride * static_cast<std::size_t>(count));
  DeviceBuffer<unsigned char> device(stride * static_cast<std::size_t>(count));
  std::vector<std::int32_t> pages(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) pages[static_cast<std::size_t>(i)] = 2 * i;
  GraphSample sample{.part = "h2d_batch"};
  sample.samples_us = repeated(stream, [&](int) {
    kernels::cuda::copy_pages(host.get(), device.data(), static_cast<std::int64_t>(bytes), pages, pages, stream);
  });
  sample.figures = {{"bytes", static_cast<double>(bytes) * count}, {"copies", count}};
  return sample;
}

/// The read is launched so often that it outlasts the copy.
GraphSample copy_beside_read(std::size_t copy_bytes, cudaStream_t stream) {
  constexpr std::size_t kReadBytes = 512ULL << 20;
  constexpr int kReads = 24;
  cudaStream_t copy_stream = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&copy_stream, cudaStreamNonBlocking));
  DeviceBuffer<unsigned char> data(kReadBytes);
  DeviceBuffer<unsigned char> target(copy_bytes);
  DeviceBuffer<std::uint32_t> sink(1);
  data.fill_bytes(0x11);
  const Pinned source = pinned(copy_bytes);
  const auto read = [&] {
    stream_read<<<132 * 4, 512, 0, stream>>>(reinterpret_cast<const uint4*>(data.data()), kReadBytes / 16, sink.data());
  };
  const auto copy = [&] {
    RETROSIM_CUDA_CHECK(cudaMemcpyAsync(target.data(), source.get(), copy_bytes, cudaMemcpyHostToDevice, copy_stream));
  };
  std::vector<double> copy_beside;
  std::vector<double> read_beside;
  GraphSample sample{.part = "copy_beside_read"};
  const double read_alone = median(repeated(stream, [&](int) { read(); }));
  const double copy_alone = median(repeated(copy_stream, [&](int) { copy(); }));
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    EventPair copy_events;
    EventPair inner;
    read();
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
    for (int i = 0; i < 2; ++i) read();
    inner.begin(stream);
    for (int i = 0; i < kReads; ++i) read();
    inner.end(stream);
    copy_events.begin(copy_stream);
    for (int i = 0; i < 16; ++i) copy();
    copy_events.end(copy_stream);
    read_beside.push_back(inner.microseconds() / kReads);
    copy_beside.push_back(copy_events.microseconds() / 16);
    RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
  }
  sample.samples_us = read_beside;
  sample.figures = {{"copy_bytes", static_cast<double>(copy_bytes)},
                    {"read_bytes", static_cast<double>(kReadBytes)},
                    {"copy_alone_us", copy_alone},
                    {"read_alone_us", read_alone},
                    {"copy_beside_us", median(copy_beside)},
                    {"read_beside_us", median(read_beside)}};
  RETROSIM_CUDA_CHECK(cudaStreamDestroy(copy_stream));
  return sample;
}

}  // namespace

void warm_up(double seconds, cudaStream_t stream) {
  constexpr std::size_t kBytes = 256ULL << 20;
  const DeviceBuffer<unsigned char> data(kBytes);
  DeviceBuffer<std::uint32_t> sink(1);
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds) {
    for (int i = 0; i < 100; ++i) {
      stream_read<<<132 * 4, 512, 0, stream>>>(reinterpret_cast<const uint4*>(data.data()), kBytes / 16, sink.data());
    }
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
  }
}

std::vector<GraphSample> measure_launches(cudaStream_t stream) {
  std::vector<GraphSample> samples;
  for (const bool early_start : {false, true}) {
    for (const int nodes : {1, 16, 128, 512}) samples.push_back(graph_nodes(nodes, early_start, 1, stream));
    samples.push_back(graph_nodes(128, early_start, 8, stream));
  }
  constexpr int kLaunches = 256;
  GraphSample launches{.part = "kernel_launches"};
  launches.samples_us = repeated(stream, [&](int) {
    for (int i = 0; i < kLaunches; ++i) do_nothing<<<1, 32, 0, stream>>>();
  });
  launches.figures = {{"launches", kLaunches}};
  samples.push_back(std::move(launches));
  return samples;
}

std::vector<GraphSample> measure_links(cudaStream_t stream) {
  std::vector<GraphSample> samples;
  constexpr std::size_t kLargest = 256ULL << 20;
  const Pinned host = pinned(kLargest);
  DeviceBuffer<unsigned char> device(kLargest);
  DeviceBuffer<unsigned char> other(kLargest);
  for (std::size_t bytes = 4096; bytes <= kLargest; bytes *= 4) {
    samples.push_back(copies("h2d", device.data(), host.get(), bytes, stream));
    samples.push_back(copies("d2h", host.get(), device.data(), bytes, stream));
    samples.push_back(copies("d2d", other.data(), device.data(), bytes, stream));
  }
  for (const int copies : {4, 16, 64}) {
    for (const std::size_t bytes : {std::size_t{16} << 10, std::size_t{64} << 10, std::size_t{256} << 10}) {
      samples.push_back(batch_of_copies(copies, bytes, stream));
    }
  }
  for (const std::size_t bytes : {std::size_t{1} << 20, std::size_t{32} << 20}) {
    samples.push_back(copy_beside_read(bytes, stream));
  }
  return samples;
}

}  // namespace retrosim::gpu
