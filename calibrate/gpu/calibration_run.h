// `retrosim calibrate`: measures until the time is up and writes samples as they come.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace retrosim::gpu {

struct CalibrationOptions {
  std::filesystem::path out;  // folder of samples.jsonl and machine.json
  double seconds = 240;       // limit on the whole run; a case that has begun is finished
  std::uint64_t seed = 1;     // of the grid
  int first_case = 0;         // kFirstAttentionCase: attention alone
};

struct CalibrationResult {
  int cases = 0;      // measured now
  int refused = 0;    // shapes that there is no kernel for
  int throttled = 0;  // samples beside which the GPU ran slower than its clocks allow
  std::int64_t samples = 0;
};

/// Launches and links first, then prefill attention (none of them for attention alone), then case after case of the
/// grid (calibration_design.h). Goes on where samples.jsonl ends, with the case after the last one in it. `progress`
/// gets a line now and then. Throws InputError without a GPU, for a GPU that has no bundled spec, for samples of
/// another GPU in `out`, and when a file cannot be written.
CalibrationResult run_calibration(const CalibrationOptions& options,
                                  const std::function<void(const std::string&)>& progress);

}  // namespace retrosim::gpu
