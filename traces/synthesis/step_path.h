// Which recorded steps lend their factors and residuals to synthetic ones: blocks that follow the recorded order, so
// that drift and bursts take their recorded course, joined where the page being filled is as full. Residuals go with
// the factors, except where a recorded step comes again within kNoRepeatSteps: then they are those of a path of their
// own, so that no ranking repeats exactly.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace retrosim {

inline constexpr std::int64_t kNoRepeatSteps = 64;

struct StepPath {
  std::vector<std::int32_t> factor;    // [steps], a recorded step
  std::vector<std::int32_t> residual;  // [steps], mostly the same
};

struct StepPathShape {
  std::int64_t recorded_steps = 0;
  std::int64_t recorded_position = 0;  // of recorded step 0
  std::int64_t first_position = 0;     // of the path's first step
  std::int64_t steps = 0;
  std::int64_t page_size = 0;
};

/// Blocks of half to one and a half times min(128, recorded_steps / 2) steps. The next one begins where the last one
/// ended or up to half that many steps later, in whole pages: neighbouring blocks come from neighbouring text, and none
/// repeats what was just there. Where the recording ends, it begins anywhere in its first half. Throws
/// std::invalid_argument for fewer than 3 pages of recorded steps.
StepPath make_step_path(const StepPathShape& shape, std::uint64_t seed);

}  // namespace retrosim
