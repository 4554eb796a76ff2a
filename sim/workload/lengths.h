// Distributions of prompt and output lengths.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sim/workload/random.h"

namespace retrosim {

enum class LengthKind : std::uint8_t { constant, uniform, exponential, lognormal };

/// Draws are rounded to the nearest token and clamped to [min, max].
struct LengthDistribution {
  LengthKind kind = LengthKind::constant;
  double a = 1;  // tokens: constant value, uniform low, exponential mean, lognormal median
  double b = 0;  // uniform high (tokens), lognormal sigma of the logarithm
  std::int32_t min = 1;
  std::int32_t max = 1 << 24;

  std::int32_t draw(RandomStream& random) const;
  /// The text that parse_length reads back: "lognormal:760:0.985,2,14050".
  std::string text() const;
};

/// "constant:N" or just "N", "uniform:LOW:HIGH", "exponential:MEAN", "lognormal:MEDIAN:SIGMA"; optionally followed by
/// ",MIN,MAX" tokens. Throws InputError naming `field`.
LengthDistribution parse_length(std::string_view text, std::string_view field);

/// Prompt and output lengths of a published workload; drawn independently of each other.
struct LengthPreset {
  std::string_view name;
  LengthDistribution input;
  LengthDistribution output;
  std::string_view source;
};

std::span<const LengthPreset> length_presets();
/// Throws InputError listing the names.
const LengthPreset& find_length_preset(std::string_view name);

}  // namespace retrosim
