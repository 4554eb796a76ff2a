#include "sim/sweep/design.h"

#include <string>
#include <utility>

#include "model/error.h"
#include "sim/workload/random.h"

namespace retrosim {
namespace {

constexpr std::uint64_t kPlaceStream = std::uint64_t{1} << 62;  // point + this: places within strata

/// Where a pseudorandom permutation of 0 .. count-1, one per (seed, axis), puts `index`: a Feistel network of eight
/// rounds on the next even number of bits, walked until it lands below `count` (Black and Rogaway 2002, "Ciphers with
/// arbitrary finite domains"), so that no table is kept.
std::uint64_t permuted(std::uint64_t index, std::uint64_t count, std::uint64_t seed, std::uint64_t axis) {
  unsigned half_bits = 1;
  while ((std::uint64_t{1} << (2 * half_bits)) < count) ++half_bits;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  do {
    std::uint64_t left = index >> half_bits;
    std::uint64_t right = index & mask;
    for (std::uint64_t round = 0; round < 8; ++round) {
      RandomStream mix(seed, RandomPurpose::sweep, (axis << 40) | (round << 34) | right);
      const std::uint64_t swapped = left ^ (mix.next_u64() & mask);
      left = right;
      right = swapped;
    }
    index = (left << half_bits) | right;
  } while (index >= count);
  return index;
}

}  // namespace

SweepDesign SweepDesign::grid(std::vector<std::uint64_t> sizes) {
  std::uint64_t points = 1;
  for (const std::uint64_t size : sizes) {
    if (size == 0) throw InputError("", "grid", "an axis without values", "at least one value per axis");
    if (size > kMaxPoints / points) {
      throw InputError("", "grid", "more than " + std::to_string(kMaxPoints) + " points", "fewer values");
    }
    points *= size;
  }
  SweepDesign design(sizes.size(), points);
  design.grid_ = std::move(sizes);
  return design;
}

SweepDesign SweepDesign::latin_hypercube(std::size_t axes, std::uint64_t samples, std::uint64_t seed) {
  if (samples < 1 || samples > kMaxPoints) {
    throw InputError("", "samples", std::to_string(samples), "in [1, " + std::to_string(kMaxPoints) + "]");
  }
  SweepDesign design(axes, samples);
  design.seed_ = seed;
  design.hypercube_ = true;
  return design;
}

std::vector<double> SweepDesign::at(std::uint64_t point) const {
  std::vector<double> position(num_axes_);
  if (!hypercube_) {
    for (std::size_t axis = num_axes_; axis-- > 0;) {
      const std::uint64_t size = grid_[axis];
      position[axis] = (static_cast<double>(point % size) + 0.5) / static_cast<double>(size);
      point /= size;
    }
    return position;
  }
  RandomStream place(seed_, RandomPurpose::sweep, kPlaceStream + point);
  for (std::size_t axis = 0; axis < num_axes_; ++axis) {
    position[axis] =
        (static_cast<double>(permuted(point, size_, seed_, axis)) + place.uniform()) / static_cast<double>(size_);
  }
  return position;
}

}  // namespace retrosim
