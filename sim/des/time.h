// Simulated time: integer picoseconds, so that the order of events never depends on rounding. 2^63 ps are 106 days.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>

namespace retrosim {

using TimePs = std::int64_t;

inline constexpr double kPsPerSecond = 1e12;
inline constexpr TimePs kMaxTimePs = std::numeric_limits<TimePs>::max();

/// Nearest picosecond, halves away from zero (std::llround). Throws std::domain_error for NaN, negative durations and
/// those beyond 2^62 ps (53 days).
inline TimePs ps_from_seconds(double seconds) {
  const double ps = seconds * kPsPerSecond;
  if (!(ps >= 0.0 && ps < 4611686018427387904.0)) throw std::domain_error("duration outside [0, 2^62) picoseconds");
  return std::llround(ps);
}

inline double seconds_from_ps(TimePs ps) { return static_cast<double>(ps) / kPsPerSecond; }
inline double us_from_ps(TimePs ps) { return static_cast<double>(ps) / 1e6; }

}  // namespace retrosim
