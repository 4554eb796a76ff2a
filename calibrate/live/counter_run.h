// Steps for Nsight Compute: only the kernels of one step per configuration run between cudaProfilerStart and Stop.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "calibrate/live/live_config.h"

namespace retrosim::gpu {

/// Runs each configuration and writes what write_expected_bytes() says of each kernel, in launch order; a configuration
/// that does not run is a line with "error". Run it under `ncu --profile-from-start off`. Throws InputError without a
/// GPU.
void run_for_counters(const std::vector<LiveConfig>& grid, const std::filesystem::path& out,
                      const std::function<void(const std::string&)>& progress);

}  // namespace retrosim::gpu
