#include <array>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string_view>

#include "calibrate/gpu/device_info.h"
#include "calibrate/gpu/event_timing.h"
#include "kernels/cuda/device_buffer.h"

namespace retrosim::gpu {
namespace {

/// First line that `command` prints, or "".
std::string first_line(const char* command) {
  std::array<char, 256> line{};
  FILE* pipe = popen(command, "r");
  if (pipe == nullptr) return "";
  const bool read = std::fgets(line.data(), static_cast<int>(line.size()), pipe) != nullptr;
  pclose(pipe);
  std::string text = read ? line.data() : "";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

cudaDeviceProp properties() {
  cudaDeviceProp device{};
  RETROSIM_CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
  return device;
}

}  // namespace

Clocks read_clocks() {
  std::string line = first_line(
      "nvidia-smi --query-gpu=clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,clocks_event_reasons.active "
      "--format=csv,noheader,nounits 2>/dev/null");
  for (char& c : line) c = c == ',' ? ' ' : c;
  std::istringstream stream(line);
  Clocks clocks;
  std::string reasons;
  stream >> clocks.sm_mhz >> clocks.memory_mhz >> clocks.max_sm_mhz >> clocks.max_memory_mhz >> reasons;
  if (stream.fail()) return clocks;
  // NVML's clock event reasons: 0x4 software power cap, 0x8 hardware slowdown, 0x20 and 0x40 thermal, 0x80 power brake.
  clocks.throttled = (std::strtoull(reasons.c_str(), nullptr, 16) & 0xecULL) != 0;
  return clocks;
}

double copy_bandwidth(cudaStream_t stream) {
  constexpr std::size_t kBytes = 4ULL << 30;
  kernels::cuda::DeviceBuffer<unsigned char> from(kBytes);
  kernels::cuda::DeviceBuffer<unsigned char> to(kBytes);
  from.fill_bytes(0x5a);
  const std::vector<double> times = time_each(11, stream, [&](int) {
    RETROSIM_CUDA_CHECK(cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, stream));
  });
  return 2.0 * static_cast<double>(kBytes) / (1e-6 * median({times.begin() + 2, times.end()}));
}

nlohmann::json provenance() {
  const cudaDeviceProp device = properties();
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

std::string bundled_name() {
  const std::string name = properties().name;
  if (name.starts_with("NVIDIA H100") && name.find("PCIe") == std::string::npos) return "h100-sxm";
  if (name.starts_with("NVIDIA H200")) return "h200-sxm";
  return "";
}

void write_json(const nlohmann::json& document, const std::string& path) {
  const std::string text = document.dump(1);
  FILE* file = path.empty() ? stdout : std::fopen(path.c_str(), "w");
  if (file == nullptr) throw std::runtime_error("cannot write " + path);
  std::fwrite(text.data(), 1, text.size(), file);
  std::fputc('\n', file);
  if (file != stdout) std::fclose(file);
}

}  // namespace retrosim::gpu
