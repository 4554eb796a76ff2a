// Attention mass as one byte on a piecewise logarithmic scale ("log2-16-4-2"): fine where the mass is, coarse where it
// is not. With o = -log2(mass), code 0 is nothing and code c > 0 stands at x = 255 - c on
//     x = 16 o            for o < 6    (mass above 1/64: 16 levels per octave, off by at most 2.2 %)
//     x = 96 + 4 (o - 6)  for o < 9    (above 1/512: 4 levels, at most 9.1 %)
//     x = 108 + 2 (o - 9) beyond       (2 levels, at most 19 %)
// Errors of single pages are independent and average out in sums; real rankings need 0.9 bits less per page than with 4
// levels throughout.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace retrosim {

inline constexpr std::string_view kMassScaleName = "log2-16-4-2";

class MassScale {
 public:
  MassScale() {
    for (int code = 1; code < 256; ++code) {
      const auto x = static_cast<float>(255 - code);
      const float octaves = x < 96 ? x / 16 : x < 108 ? 6 + (x - 96) / 4 : 9 + (x - 108) / 2;
      mass_[static_cast<std::size_t>(code)] = std::exp2(-octaves);
    }
  }

  /// The nearest code, on the scale, of `mass` in [0, 1].
  static std::uint8_t code_of(float mass) {
    if (!(mass > 0.0F)) return 0;
    const float octaves = std::max(-std::log2(mass), 0.0F);
    const float x = octaves < 6 ? 16 * octaves : octaves < 9 ? 96 + 4 * (octaves - 6) : 108 + 2 * (octaves - 9);
    return static_cast<std::uint8_t>(std::max(255 - std::round(x), 0.0F));
  }
  float mass_of(std::uint8_t code) const { return mass_[code]; }

 private:
  std::array<float, 256> mass_{};
};

}  // namespace retrosim
