#include "traces/block_bootstrap.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

namespace retrosim {
namespace {

double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - std::floor(at)) * (sorted[above] - sorted[below]);
}

}  // namespace

Interval bootstrap_ratio(std::span<const double> numerator, std::span<const double> denominator,
                         const BootstrapOptions& options) {
  const std::size_t steps = numerator.size();
  if (steps == 0 || denominator.size() != steps) throw std::invalid_argument("one numerator and denominator per step");
  const std::size_t block = std::clamp<std::size_t>(static_cast<std::size_t>(options.block_steps), 1, steps);
  // Sums over the steps before, twice around: a block's sum is a difference.
  std::vector<double> top(2 * steps + 1), bottom(2 * steps + 1);
  for (std::size_t i = 0; i < 2 * steps; ++i) {
    top[i + 1] = top[i] + numerator[i % steps];
    bottom[i + 1] = bottom[i] + denominator[i % steps];
  }
  std::mt19937_64 random(options.seed);
  std::vector<double> ratios;
  for (int sample = 0; sample < options.resamples; ++sample) {
    double above = 0, below = 0;
    for (std::size_t drawn = 0; drawn < steps; drawn += block) {
      const std::size_t start = random() % steps;
      const std::size_t end = start + std::min(block, steps - drawn);
      above += top[end] - top[start];
      below += bottom[end] - bottom[start];
    }
    if (below != 0) ratios.push_back(above / below);
  }
  if (ratios.empty()) return {};
  std::sort(ratios.begin(), ratios.end());
  return {.low = quantile(ratios, 0.025), .high = quantile(ratios, 0.975)};
}

Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options) {
  return bootstrap_ratio(values, std::vector<double>(values.size(), 1.0), options);
}

}  // namespace retrosim
