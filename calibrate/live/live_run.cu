#include <chrono>
#include <fstream>
#include <set>

#include "calibrate/live/live_decoder.h"
#include "calibrate/live/live_run.h"
#include "kernels/cuda/check.h"
#include "model/error.h"

namespace retrosim::gpu {

using kernels::cuda::gpu_available;

LiveRunResult run_live_grid(std::vector<LiveConfig> grid, const LiveRunOptions& options,
                            const std::function<void(const std::string&)>& progress) {
  if (!gpu_available()) throw InputError("", "GPU", "none", "a GPU of compute capability 8.0 or later");
  std::set<std::string> done;
  if (std::filesystem::exists(options.out)) {
    for (const LiveResult& result : read_live_results(options.out)) done.insert(result.config.id);
  }
  std::ofstream out(options.out, std::ios::app);
  if (!out) throw InputError(options.out.string() + ": cannot be written");
  cudaStream_t stream = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const auto start = std::chrono::steady_clock::now();
  LiveRunResult counts;
  LiveWeights weights;
  for (std::size_t i = 0; i < grid.size(); ++i) {
    if (done.count(grid[i].id) != 0) continue;
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (elapsed > options.seconds) {
      ++counts.left;
      continue;
    }
    LiveResult result;
    try {
      result = run_live(grid[i], weights, {.timed_steps = options.timed_steps, .parts = options.parts}, stream);
      ++counts.measured;
    } catch (const kernels::cuda::CudaError& error) {
      result.error = error.what();
    } catch (const std::exception& error) {
      result.error = error.what();
    }
    if (!result.error.empty()) {
      ++counts.failed;
      result.config = grid[i];
      progress(grid[i].id + ": " + result.error);
      // An error that stays with the context fails everything after it.
      cudaGetLastError();
      if (cudaDeviceSynchronize() != cudaSuccess) {
        out << to_json_line(result) << std::endl;
        throw std::runtime_error("the GPU does not recover from: " + result.error);
      }
    }
    out << to_json_line(result) << std::endl;
    if (!out) throw InputError(options.out.string() + ": cannot be written");
    progress(grid[i].id + " " + grid[i].llm + " " + grid[i].policy + " w " + std::to_string(grid[i].window) +
             " batch " + std::to_string(grid[i].batch) + " context " + std::to_string(grid[i].context) + ": " +
             std::to_string(median_of(result.step_us)) + " us, at " + std::to_string(elapsed) + " s");
  }
  RETROSIM_CUDA_CHECK(cudaStreamDestroy(stream));
  return counts;
}

}  // namespace retrosim::gpu
