// Confidence intervals of means and ratios over dependent steps: the circular block bootstrap (Politis and Romano
// 1992). Neighbouring steps share pages, so single steps must not be drawn as if they were independent; blocks of them
// are.
#pragma once

#include <cstdint>
#include <span>

namespace retrosim {

struct BootstrapOptions {
  std::int64_t block_steps = 32;  // shortened to the number of steps where there are fewer
  int resamples = 1000;
  std::uint64_t seed = 1;
};

/// 95 % interval: the 2.5 % and 97.5 % quantiles of the resampled statistic.
struct Interval {
  double low = 0;
  double high = 0;
};

/// Of sum(numerator) / sum(denominator), resampled in pairs; one value of each per step. Throws std::invalid_argument
/// unless both have one length of at least 1. Resamples whose denominator is 0 are left out.
Interval bootstrap_ratio(std::span<const double> numerator, std::span<const double> denominator,
                         const BootstrapOptions& options = {});

/// Of the mean of `values`.
Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options = {});

}  // namespace retrosim
