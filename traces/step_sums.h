// Sums per recorded step whose ratios are statistics: the parts of a trace add up, and every ratio has an interval.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "traces/block_bootstrap.h"

namespace retrosim {

/// A ratio of two sums over steps, with its 95 % interval.
struct Estimate {
  double value = 0;
  Interval interval;
};

/// Columns of sums, one row per step; beyond kMaxRows steps neighbours share a row, so that memory stays bounded.
class StepSums {
 public:
  static constexpr std::int64_t kMaxRows = 4096;

  StepSums(std::int64_t num_steps, std::size_t columns)
      : steps_per_row_(std::max<std::int64_t>((num_steps + kMaxRows - 1) / kMaxRows, 1)),
        rows_(static_cast<std::size_t>((num_steps + steps_per_row_ - 1) / steps_per_row_)),
        values_(columns, std::vector<double>(rows_)) {}

  void add(std::int64_t step, std::size_t column, double value) {
    values_[column][static_cast<std::size_t>(step / steps_per_row_)] += value;
  }
  /// Of the same steps and columns.
  void add(const StepSums& other) {
    for (std::size_t c = 0; c < values_.size(); ++c) {
      for (std::size_t r = 0; r < rows_; ++r) values_[c][r] += other.values_[c][r];
    }
  }

  double sum(std::size_t column) const {
    double total = 0;
    for (const double value : values_[column]) total += value;
    return total;
  }
  /// 0 where the denominator is.
  double ratio(std::size_t numerator, std::size_t denominator) const {
    const double below = sum(denominator);
    return below != 0 ? sum(numerator) / below : 0;
  }
  /// With blocks of `block_steps` steps.
  Estimate estimate(std::size_t numerator, std::size_t denominator, BootstrapOptions options) const {
    options.block_steps = std::max<std::int64_t>(options.block_steps / steps_per_row_, 1);
    return {ratio(numerator, denominator), bootstrap_ratio(values_[numerator], values_[denominator], options)};
  }

 private:
  std::int64_t steps_per_row_;
  std::size_t rows_;
  std::vector<std::vector<double>> values_;  // [columns][rows]
};

}  // namespace retrosim
