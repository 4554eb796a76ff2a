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
#include <bit>
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
  explicit MassScale(std::string_view name = kMassScaleName) : tables_(tables(name == kMassScaleName)) {}

  /// The nearest code, on the scale, of `mass` in [0, 1]. Looked up: the bits of a mass down to 1/32 octave leave at
  /// most two neighbouring codes, and the mass where the upper one begins decides.
  std::uint8_t code_of(float mass) const {
    if (!(mass > 0.0F)) return 0;
    if (mass >= 1.0F) return 255;
    const Bin& bin = tables_.bins[std::bit_cast<std::uint32_t>(mass) >> kBinShift];
    return bin.exact ? static_cast<std::uint8_t>(bin.code + (mass >= bin.next_from ? 1 : 0))
                     : computed_code_of(mass, tables_.coarsens);
  }
  float mass_of(std::uint8_t code) const { return tables_.mass[code]; }

 private:
  static constexpr int kBinShift = 18;                              // leaves exponent and 5 bits of the significand
  static constexpr std::uint32_t kBins = 0x3F800000U >> kBinShift;  // below 1.0F

  struct Bin {
    float next_from = 0;    // masses from here on have the next code
    std::uint8_t code = 0;  // of the smallest mass of the bin
    bool exact = false;     // no third code in it (denormal numbers have more)
  };

  struct Tables {
    bool coarsens = false;
    std::array<float, 256> mass{};
    std::array<Bin, kBins> bins{};
  };

  static const Tables& tables(bool coarsens) {
    static const Tables coarsening = make_tables(true);
    static const Tables older = make_tables(false);
    return coarsens ? coarsening : older;
  }

  static Tables make_tables(bool coarsens) {
    Tables made{.coarsens = coarsens};
    for (int code = 1; code < 256; ++code) {
      const auto x = static_cast<float>(255 - code);
      const float octaves = x < 96                 ? x / 16
                            : x < 108              ? 6 + (x - 96) / 4
                            : x < 114 || !coarsens ? 9 + (x - 108) / 2
                                                   : 12 + (x - 114);
      const bool coarsest = coarsens && x > 114;
      made.mass[static_cast<std::size_t>(code)] = std::exp2(-octaves) * (coarsest ? kMeanOfOctave : 1.0F);
    }
    for (std::uint32_t i = 0; i < kBins; ++i) {
      made.bins[i] = bin_of(i << kBinShift, ((i + 1) << kBinShift) - 1, coarsens);
    }
    return made;
  }

  static std::uint8_t computed_code_of(float mass, bool coarsens) {
    if (!(mass > 0.0F)) return 0;
    const float octaves = std::max(-std::log2(mass), 0.0F);
    const float x = octaves < 6                 ? 16 * octaves
                    : octaves < 9               ? 96 + 4 * (octaves - 6)
                    : octaves < 12 || !coarsens ? 108 + 2 * (octaves - 9)
                                                : 114 + (octaves - 12);
    return static_cast<std::uint8_t>(std::max(255 - std::round(x), 0.0F));
  }

  // Of the masses whose bits are first .. last.
  static Bin bin_of(std::uint32_t first, std::uint32_t last, bool coarsens) {
    const auto code = [coarsens](std::uint32_t bits) { return computed_code_of(std::bit_cast<float>(bits), coarsens); };
    const std::uint8_t low = code(first);
    if (code(last) > low + 1) return {};
    std::uint32_t from = last + 1;  // smallest bits of the next code: in (first, last], or none
    while (first + 1 < from) {
      const std::uint32_t middle = first + (from - first) / 2;
      (code(middle) > low ? from : first) = middle;
    }
    return {.next_from = std::bit_cast<float>(from), .code = low, .exact = true};
  }

  // (2^(1/2) - 2^(-1/2)) / ln 2
  static constexpr float kMeanOfOctave = 1.0201394F;

  const Tables& tables_;
};

}  // namespace retrosim
