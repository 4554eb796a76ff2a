// Attention mass as one byte on a piecewise logarithmic scale ("log2-16-4-2-1"): fine where the mass is, coarse where
// it is not. With o = -log2(mass), code 0 is nothing and code c > 0 stands at x = 255 - c on
//     x = 16 o             for o < 6    (mass above 1/64: 16 levels per octave, off by at most 2.2 %)
//     x = 96 + 4 (o - 6)   for o < 9    (above 1/512: 4 levels, at most 9.1 %)
//     x = 108 + 2 (o - 9)  for o < 12   (above 1/4096: 2 levels, at most 19 %)
//     x = 114 + (o - 12)   beyond       (1 level, at most 44 %; read as the mean of masses spread evenly over the
//     level,
//                                        2 % above its middle)
// Errors of single pages are independent and average out in sums; real rankings need 1.4 bits less per page than with 4
// levels throughout. Older traces use "log2-16-4-2", which keeps 2 levels beyond 1/512.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace retrosim {

inline constexpr std::string_view kMassScaleName = "log2-16-4-2-1";
inline constexpr std::string_view kOlderMassScaleName = "log2-16-4-2";

class MassScale {
 public:
  static bool knows(std::string_view name) { return name == kMassScaleName || name == kOlderMassScaleName; }

  /// Of a name that it knows().
  explicit MassScale(std::string_view name = kMassScaleName) : coarsens_(name == kMassScaleName) {
    for (int code = 1; code < 256; ++code) {
      const auto x = static_cast<float>(255 - code);
      const float octaves = x < 96                  ? x / 16
                            : x < 108               ? 6 + (x - 96) / 4
                            : x < 114 || !coarsens_ ? 9 + (x - 108) / 2
                                                    : 12 + (x - 114);
      const bool coarsest = coarsens_ && x > 114;
      mass_[static_cast<std::size_t>(code)] = std::exp2(-octaves) * (coarsest ? kMeanOfOctave : 1.0F);
    }
  }

  /// The nearest code, on the scale, of `mass` in [0, 1].
  std::uint8_t code_of(float mass) const {
    if (!(mass > 0.0F)) return 0;
    const float octaves = std::max(-std::log2(mass), 0.0F);
    const float x = octaves < 6                  ? 16 * octaves
                    : octaves < 9                ? 96 + 4 * (octaves - 6)
                    : octaves < 12 || !coarsens_ ? 108 + 2 * (octaves - 9)
                                                 : 114 + (octaves - 12);
    return static_cast<std::uint8_t>(std::max(255 - std::round(x), 0.0F));
  }
  float mass_of(std::uint8_t code) const { return mass_[code]; }

 private:
  // (2^(1/2) - 2^(-1/2)) / ln 2
  static constexpr float kMeanOfOctave = 1.0201394F;

  bool coarsens_;
  std::array<float, 256> mass_{};
};

}  // namespace retrosim
