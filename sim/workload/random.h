// Counter-based random numbers: the draw of request i is a function of (seed, purpose, i) alone, so that the same seed
// gives the same bytes on every machine, for every number of threads, and whatever the load (common random numbers).
#pragma once

#include <array>
#include <cstdint>

namespace retrosim {

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a keyed
/// bijection of 128-bit counters.
inline std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// What a random number decides; streams of different purposes are independent.
enum class RandomPurpose : std::uint32_t { arrival, input_length, output_length, sample, session, sweep };

class RandomStream {
 public:
  RandomStream(std::uint64_t seed, RandomPurpose purpose, std::uint64_t index)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        counter_{0, static_cast<std::uint32_t>(purpose), static_cast<std::uint32_t>(index),
                 static_cast<std::uint32_t>(index >> 32)} {}

  std::uint64_t next_u64() {
    if (used_ == 2) {
      block_ = philox4x32(counter_, key_);
      ++counter_[0];
      used_ = 0;
    }
    const std::size_t first = 2 * used_++;
    return std::uint64_t{block_[first + 1]} << 32 | block_[first];
  }
  /// Uniform in (0, 1), both ends excluded: 52 random bits and a half, exact in a double.
  double uniform() { return (static_cast<double>(next_u64() >> 12) + 0.5) * 0x1.0p-52; }

  /// Standard normal (Marsaglia's polar method).
  double normal();
  /// Exponential of mean 1.
  double exponential();
  /// Gamma of the given shape > 0 and scale 1 (Marsaglia and Tsang 2000; below shape 1 by their boost).
  double gamma(double shape);

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  std::size_t used_ = 2;  // halves of block_ that are spent
};

/// Natural logarithm and exponential from IEEE additions, products and divisions alone (relative error below 1e-14):
/// the C library's differ in the last bit from machine to machine. `x` > 0 and finite; |y| < 700.
double portable_log(double x);
double portable_exp(double y);

}  // namespace retrosim
