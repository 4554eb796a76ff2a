// Live runs of a real model that record their own traces.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "calibrate/live/live_config.h"

namespace retrosim::gpu {

struct ClosedLoopOptions {
  std::filesystem::path checkpoint;
  std::string llm = "smollm2-135m";           // bundled spec of its shape, for the simulation
  std::vector<std::filesystem::path> tokens;  // texts
  std::filesystem::path out;                  // folder of closed_loop.jsonl and one .rtrace per run
  std::vector<std::int64_t> contexts{2048, 6144};
  int steps = 32;
  double seconds = 120;
};

/// Per text and context: quest and windows 2 to 16. Each run decodes the text's tokens twice: step by step with every
/// layer's page scores recorded, then as CUDA graphs, three times, for the latency of each step. Throws InputError.
int run_closed_loop(const ClosedLoopOptions& options, const std::function<void(const std::string&)>& progress);

}  // namespace retrosim::gpu
