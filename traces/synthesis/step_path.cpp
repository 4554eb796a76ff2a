#include "traces/synthesis/step_path.h"

#include <algorithm>
#include <stdexcept>

namespace retrosim {
namespace {

std::vector<std::int32_t> blocks(const StepPathShape& shape, std::uint64_t seed) {
  const std::int64_t page = shape.page_size;
  const std::int64_t recorded = shape.recorded_steps;
  std::mt19937_64 random(seed);
  // The standard's distributions differ between libraries; these do not.
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  const std::int64_t block = std::min<std::int64_t>(128, recorded / 2);
  const std::int64_t reach = std::max<std::int64_t>(block / 2 / page, 1);  // pages
  const auto phase = [&](std::int64_t step) { return (shape.first_position + step) % page; };
  const auto anywhere = [&](std::int64_t step) {
    const std::int64_t start = below(recorded - 2 * page);
    return start + (phase(step) - (shape.recorded_position + start) % page + page) % page;
  };
  std::vector<std::int32_t> path;
  path.reserve(static_cast<std::size_t>(shape.steps));
  std::int64_t at = anywhere(0);
  std::int64_t left = block / 2 + below(block);
  for (std::int64_t step = 0; step < shape.steps; ++step) {
    if (left == 0 || at >= recorded) {
      at += page * (below(2 * reach + 1) - reach);
      if (at < 0 || at > recorded - page) at = anywhere(step);
      left = std::max<std::int64_t>(block / 2 + below(block), 1);
    }
    path.push_back(static_cast<std::int32_t>(at++));
    --left;
  }
  return path;
}

}  // namespace

StepPath make_step_path(const StepPathShape& shape, std::uint64_t seed) {
  if (shape.recorded_steps < 3 * shape.page_size) {
    throw std::invalid_argument("fewer recorded steps than 3 pages hold");
  }
  return {.factor = blocks(shape, 2 * seed), .residual = blocks(shape, 2 * seed + 1)};
}

}  // namespace retrosim
