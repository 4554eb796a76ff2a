// Attention mass on a logarithmic 8-bit scale: code 0 is nothing, code c > 0 is 2^((c - 255) / levels_per_octave), so
// that 255 is all of it. With 8 levels per octave a code is off by at most 4.4 % and the smallest mass is 2.8e-10.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace retrosim {

class MassScale {
 public:
  explicit MassScale(int levels_per_octave) : levels_per_octave_(static_cast<float>(levels_per_octave)) {
    for (int code = 1; code < 256; ++code) mass_[code] = std::exp2(static_cast<float>(code - 255) / levels_per_octave_);
  }

  /// The nearest code on the logarithmic scale of `mass` in [0, 1]; less than half a level below code 1 is nothing.
  std::uint8_t code_of(float mass) const {
    if (!(mass > 0.0F)) return 0;
    const float code = 255.0F + std::round(levels_per_octave_ * std::log2(mass));
    return static_cast<std::uint8_t>(code < 1.0F ? 0.0F : (code > 255.0F ? 255.0F : code));
  }
  float mass_of(std::uint8_t code) const { return mass_[code]; }
  const std::array<float, 256>& table() const { return mass_; }

 private:
  float levels_per_octave_;
  std::array<float, 256> mass_{};
};

}  // namespace retrosim
