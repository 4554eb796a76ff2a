// Which points a sweep visits, as positions in the unit cube: one coordinate per axis.
#pragma once

#include <cstdint>
#include <vector>

namespace retrosim {

/// A point is a function of its index alone, so that any part of a sweep can be computed anywhere, in any order.
class SweepDesign {
 public:
  /// Every combination of `sizes[axis]` choices per axis, the last axis fastest; choice i of n lies at (i + 1/2) / n.
  /// Throws InputError for an axis without choices or more than kMaxPoints combinations.
  static SweepDesign grid(std::vector<std::uint64_t> sizes);

  /// Latin hypercube (McKay, Beckman, Conover 1979): on every axis each of `samples` equal strata holds exactly one
  /// point, at a uniformly random place in it; strata are paired by independent random permutations. Throws InputError
  /// for no samples or more than kMaxPoints.
  static SweepDesign latin_hypercube(std::size_t axes, std::uint64_t samples, std::uint64_t seed);

  static constexpr std::uint64_t kMaxPoints = 100'000'000;

  std::uint64_t size() const { return size_; }
  std::size_t num_axes() const { return num_axes_; }
  /// [num_axes()], each in (0, 1). Requires point < size().
  std::vector<double> at(std::uint64_t point) const;

 private:
  SweepDesign(std::size_t axes, std::uint64_t size) : num_axes_(axes), size_(size) {}

  std::size_t num_axes_;
  std::uint64_t size_;
  bool hypercube_ = false;
  std::vector<std::uint64_t> grid_;  // [axes] choices
  std::uint64_t seed_ = 0;
};

/// Which of `choices` equal parts of (0, 1) `position` lies in.
inline std::uint64_t choice_at(double position, std::uint64_t choices) {
  const auto choice = static_cast<std::uint64_t>(position * static_cast<double>(choices));
  return choice < choices ? choice : choices - 1;
}

}  // namespace retrosim
