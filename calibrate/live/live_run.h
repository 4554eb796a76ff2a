// Many live configurations one after the other, each result written as it comes.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "calibrate/live/live_config.h"

namespace retrosim::gpu {

struct LiveRunOptions {
  std::filesystem::path out;  // file of results, one line each; a run that was cut off goes on there
  double seconds = 240;       // limit on the whole run; a configuration that has begun is finished
  int timed_steps = 24;
  bool parts = true;
};

struct LiveRunResult {
  int measured = 0;
  int failed = 0;  // written with their error
  int left = 0;    // not begun when the time was up
};

/// Configurations that the file has already are not run again. Throws InputError without a GPU, or when the file cannot
/// be written; what a configuration throws is written as its error.
LiveRunResult run_live_grid(std::vector<LiveConfig> grid, const LiveRunOptions& options,
                            const std::function<void(const std::string&)>& progress);

}  // namespace retrosim::gpu
