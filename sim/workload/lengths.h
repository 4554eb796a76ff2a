// Distributions of prompt and output lengths.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sim/workload/random.h"

namespace retrosim {

enum class LengthKind : std::uint8_t { constant, uniform, exponential, lognormal, normal, quantiles };

struct LengthQuantile {
  double p = 0;       // share of draws at or below
  double tokens = 1;  // >= 1
};

/// Draws are rounded to the nearest token and clamped to [min, max].
struct LengthDistribution {
  LengthKind kind = LengthKind::constant;
  double a = 1;  // tokens: constant value, uniform low, exponential mean, lognormal median, normal mean
  double b = 0;  // uniform high (tokens), lognormal sigma of the logarithm, normal deviation (tokens)
  std::int32_t min = 1;
  std::int32_t max = 1 << 24;
  /// The inverse of the distribution function, interpolated between these points in the logarithm of the tokens.
  static constexpr std::size_t kMaxQuantiles = 16;
  std::array<LengthQuantile, kMaxQuantiles> quantiles{};  // ascending in both, from p = 0 to p = 1
  std::size_t num_quantiles = 0;

  std::int32_t draw(RandomStream& random) const;
  /// The text that parse_length reads back: "lognormal:760:0.985,2,14050".
  std::string text() const;
};

/// "constant:N" or just "N", "uniform:LOW:HIGH", "exponential:MEAN", "lognormal:MEDIAN:SIGMA", "normal:MEAN:DEVIATION",
/// "quantiles:0=N:P=N:...:1=N" (2 to 16 points, both ascending); optionally followed by ",MIN,MAX" tokens. Throws
/// InputError naming `field`.
LengthDistribution parse_length(std::string_view text, std::string_view field);

}  // namespace retrosim
