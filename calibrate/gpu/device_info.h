// The machine that a measurement ran on: what is written beside the samples.
#pragma once

#include <cuda_runtime_api.h>

#include <nlohmann/json.hpp>
#include <string>

namespace retrosim::gpu {

/// Clocks as nvidia-smi reads them now. All 0 where it cannot be asked.
struct Clocks {
  double sm_mhz = 0;
  double memory_mhz = 0;
  double max_sm_mhz = 0;
  double max_memory_mhz = 0;
  bool throttled = false;  // power, thermal or hardware slowdown is active
};

/// Takes some 20 ms: asks nvidia-smi.
Clocks read_clocks();

/// Device-to-device copy of 4 GiB, bytes read plus bytes written per second: the median of nine.
double copy_bandwidth(cudaStream_t stream);

/// Device, driver, clocks and code revision (RETROSIM_REVISION in the environment, as the GPU machine may have no git).
nlohmann::json provenance();

/// The bundled name of the GPU in this machine, "h100-sxm" or "h200-sxm"; "" for one that has none.
std::string bundled_name();

/// Prints to the file called `path`, or to stdout when it is empty.
void write_json(const nlohmann::json& document, const std::string& path);

}  // namespace retrosim::gpu
