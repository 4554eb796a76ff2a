// Which recorded steps lend their factors and residuals to synthetic ones: blocks that follow the recorded order, so
// that drift and bursts take their recorded course, joined where the page being filled is as full. Factors and
// residuals take paths of their own: they are uncorrelated, and where one comes by a recorded step again the other does
// not.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace retrosim {

struct StepPath {
  std::vector<std::int32_t> factor;    // [steps], a recorded step
  std::vector<std::int32_t> residual;  // [steps], of a path of its own
};

struct StepPathShape {
  std::int64_t recorded_steps = 0;
  std::int64_t recorded_position = 0;  // of recorded step 0
  std::int64_t first_position = 0;     // of the path's first step
  std::int64_t steps = 0;
  std::int64_t page_size = 0;
};

/// Blocks of half to one and a half times min(128, recorded_steps / 2) steps. The next one begins up to half that many
/// steps before or after where the last one ended, in whole pages, so that neighbouring blocks come from neighbouring
/// text; where the recording ends, anywhere. Throws std::invalid_argument for fewer than 3 pages of recorded steps.
StepPath make_step_path(const StepPathShape& shape, std::uint64_t seed);

}  // namespace retrosim
