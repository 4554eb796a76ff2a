// The one rule for percentiles.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <vector>

namespace retrosim {

/// Nearest rank: the smallest of the n values that at least a fraction p of them do not exceed, i.e. the ceil(p*n)-th
/// in ascending order (the first for p = 0). Always one of the values. Throws std::logic_error when there are none or p
/// is outside [0, 1].
inline double percentile(std::vector<double> values, double p) {
  if (values.empty() || !(p >= 0 && p <= 1)) throw std::logic_error("percentile of nothing, or outside [0, 1]");
  // 1e-9: 0.9 * 10 is 9 although 0.9 lies a little above nine tenths in binary.
  const double rank = std::ceil(p * static_cast<double>(values.size()) - 1e-9);
  const auto index = static_cast<std::ptrdiff_t>(std::max(rank, 1.0)) - 1;
  std::nth_element(values.begin(), values.begin() + index, values.end());
  return values[static_cast<std::size_t>(index)];
}

}  // namespace retrosim
