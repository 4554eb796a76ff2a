#include <cuda_profiler_api.h>

#include <fstream>

#include "calibrate/live/counter_expectation.h"
#include "calibrate/live/counter_run.h"
#include "calibrate/live/live_decoder.h"
#include "kernels/cuda/check.h"
#include "model/error.h"

namespace retrosim::gpu {

using namespace retrosim::kernels::cuda;

void run_for_counters(const std::vector<LiveConfig>& grid, const std::filesystem::path& out_file,
                      const std::function<void(const std::string&)>& progress) {
  if (!gpu_available()) throw InputError("", "GPU", "none", "a GPU of compute capability 8.0 or later");
  std::ofstream out(out_file);
  if (!out) throw InputError(out_file.string() + ": cannot be written");
  cudaStream_t stream = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  LiveWeights weights;
  const int warm_up = 3;
  for (const LiveConfig& live : grid) {
    try {
      const DecodeConfig config = decode_config(live, device_attribute(cudaDevAttrMultiProcessorCount));
      LiveDecoder decoder(live, config, weights.of(live, config, stream), warm_up + 2, stream);
      decoder.set_context(config.context - warm_up, config.window);
      for (int i = 0; i < warm_up; ++i) {
        decoder.advance();
        decoder.executor().enqueue(stream);
      }
      decoder.advance();
      RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
      RETROSIM_CUDA_CHECK(cudaProfilerStart());
      decoder.executor().enqueue(stream);
      RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
      RETROSIM_CUDA_CHECK(cudaProfilerStop());
      write_expected_bytes(out, live, decoder.graph(), device_attribute(cudaDevAttrL2CacheSize));
      out.flush();
      progress(live.id);
    } catch (const std::exception& error) {
      RETROSIM_CUDA_CHECK(cudaProfilerStop());
      out << nlohmann::ordered_json{{"id", live.id}, {"error", error.what()}}.dump() << std::endl;
      progress(live.id + ": " + error.what());
    }
  }
  RETROSIM_CUDA_CHECK(cudaStreamDestroy(stream));
}

}  // namespace retrosim::gpu
