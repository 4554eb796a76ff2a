// Products of a few rows: own kernels and cuBLASLt, each launch on weights that L2 does not hold, as a share of the
// bandwidth of a device-to-device copy in the same run. usage: linear_bench [OUT.json]
#include <cstdio>

#include "calibrate/gpu/device_info.h"
#include "calibrate/gpu/event_timing.h"
#include "kernels/cuda_step/device_linear.h"
#include "kernels/cuda_step/random_fill.h"
#include "kernels/silu_mul/silu_mul_cuda.h"

namespace retrosim::gpu_bench {
namespace {

using namespace retrosim::gpu;
using namespace retrosim::kernels::cuda;

struct Product {
  const char* name;
  std::int64_t n;
  std::int64_t k;
};

constexpr Product kLlama8b[] = {{"qkv_proj", 6144, 4096},
                                {"o_proj", 4096, 4096},
                                {"gate_up_proj", 28672, 4096},
                                {"down_proj", 4096, 14336},
                                {"lm_head", 128256, 4096}};

// Copies of the weights, so many that a replay reads 0.5 GB or more.
nlohmann::json bench(const Product& product, std::int64_t rows, MatmulPath path, double copy, cudaStream_t stream) {
  const std::int64_t bytes = product.n * product.k * 2;
  const int copies = static_cast<int>(std::max<std::int64_t>(2, (512LL << 20) / bytes));
  std::vector<DeviceLinear> weights;
  for (int i = 0; i < copies; ++i) {
    weights.emplace_back(product.n, product.k, DType::bf16, false, path == MatmulPath::lt ? kSkinnyMaxRows + 1 : rows);
    weights.back().fill_random(static_cast<std::uint64_t>(i) + 1, stream);
  }
  DeviceBuffer<unsigned char> x(static_cast<std::size_t>(rows * product.k * 2));
  DeviceBuffer<unsigned char> y(static_cast<std::size_t>(weights[0].output_bytes(rows)));
  fill_random(x.data(), DType::bf16, rows * product.k, 1.0F, 7, stream);
  LtMatmul lt;
  if (path == MatmulPath::lt) lt.choose(rows, product.n, product.k, false);
  const int sms = device_attribute(cudaDevAttrMultiProcessorCount);

  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (const DeviceLinear& w : weights) w.run(x.data(), rows, y.data(), &lt, sms, {}, stream);
  RETROSIM_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  RETROSIM_CUDA_CHECK(cudaGraphInstantiate(&executable, graph, 0));
  std::vector<double> times =
      time_each(33, stream, [&](int) { RETROSIM_CUDA_CHECK(cudaGraphLaunch(executable, stream)); });
  times.erase(times.begin(), times.begin() + 3);
  for (double& time : times) time /= copies;
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);

  const MatmulPath taken = weights[0].path();
  const double us = median(times);
  const double bandwidth = static_cast<double>(bytes) / (1e-6 * us);
  std::printf("%-13s rows %3ld %-6s %8.2f us %7.0f GB/s %5.3f of copy\n", product.name, static_cast<long>(rows),
              taken == MatmulPath::lt ? "lt" : "skinny", us, 1e-9 * bandwidth, bandwidth / copy);
  return {{"name", product.name},
          {"n", product.n},
          {"k", product.k},
          {"rows", rows},
          {"path", taken == MatmulPath::lt ? "lt" : "skinny"},
          {"weights_in_rotation", copies},
          {"weight_bytes", bytes},
          {"latency_us_p50", us},
          {"weight_read_bytes_per_s", bandwidth},
          {"share_of_copy_bandwidth", bandwidth / copy},
          {"samples_us", times}};
}

}  // namespace
}  // namespace retrosim::gpu_bench

int main(int argc, char** argv) {
  using namespace retrosim::gpu;
  using namespace retrosim::gpu_bench;
  cudaStream_t stream = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const double copy = copy_bandwidth(stream);
  std::printf("copy %.0f GB/s (read + written)\n", 1e-9 * copy);
  nlohmann::json results = nlohmann::json::array();
  for (const Product& product : kLlama8b) {
    for (const std::int64_t rows : {1, 2, 8, 16}) {
      results.push_back(bench(product, rows, MatmulPath::skinny, copy, stream));
      if (rows != 2) results.push_back(bench(product, rows, MatmulPath::lt, copy, stream));
    }
    results.push_back(bench(product, 32, MatmulPath::lt, copy, stream));
  }
  if (argc > 1) {
    write_json({{"schema", "retrosim.linear_bench/1"},
                {"provenance", provenance()},
                {"copy_bandwidth_bytes_per_s", copy},
                {"results", results}},
               argv[1]);
  }
  return 0;
}
