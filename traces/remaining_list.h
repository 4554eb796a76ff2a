// The positions 0..n-1 of a list from which one after the other is taken: which is the k-th left, and the how-many-th
// left is this one. One bit per position, a count per 64.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace retrosim {

class RemainingList {
 public:
  /// All of 0..n-1 are there again.
  void fill(std::size_t n) {
    const std::size_t words = (n + 63) / 64;
    bits_.assign(words, ~std::uint64_t{0});
    left_.assign(words, 64);
    if (n % 64 != 0) {
      bits_.back() = (std::uint64_t{1} << (n % 64)) - 1;
      left_.back() = static_cast<std::uint16_t>(n % 64);
    }
    total_ = n;
    first_ = 0;
  }

  std::size_t size() const { return total_; }

  /// Takes the k-th position left, k < size().
  std::uint32_t take(std::uint32_t k) {
    while (left_[first_] == 0) ++first_;
    std::size_t word = first_;
    while (k >= left_[word]) k -= left_[word++];
    const unsigned bit = select(bits_[word], k);
    remove(word, bit);
    return static_cast<std::uint32_t>(word * 64 + bit);
  }

  /// Takes `position`, which must be left; returns how many before it are left.
  std::uint32_t take_position(std::uint32_t position) {
    const std::size_t word = position / 64;
    const unsigned bit = position % 64;
    std::uint32_t before = 0;
    for (std::size_t i = 0; i < word; ++i) before += left_[i];
    before += static_cast<std::uint32_t>(std::popcount(bits_[word] & ((std::uint64_t{1} << bit) - 1)));
    remove(word, bit);
    return before;
  }

 private:
  void remove(std::size_t word, unsigned bit) {
    bits_[word] &= ~(std::uint64_t{1} << bit);
    --left_[word];
    --total_;
  }

  /// Index of the k-th set bit, k below their number: halves the word while the answer is in its upper part.
  static unsigned select(std::uint64_t bits, std::uint32_t k) {
    // Set bits of each pair, nibble and byte, then of each byte and all bytes below it.
    const std::uint64_t pairs = bits - ((bits >> 1) & 0x5555555555555555U);
    const std::uint64_t nibbles = (pairs & 0x3333333333333333U) + ((pairs >> 2) & 0x3333333333333333U);
    const std::uint64_t bytes = (nibbles + (nibbles >> 4)) & 0x0F0F0F0F0F0F0F0FU;
    const std::uint64_t sums = bytes * 0x0101010101010101U;
    // A byte's top bit stays set in the difference where its sum is <= k: the answer is beyond it.
    constexpr std::uint64_t kTops = 0x8080808080808080U;
    const std::uint64_t beyond = (((k * 0x0101010101010101U) | kTops) - sums) & kTops;
    const auto shift = static_cast<unsigned>(((beyond >> 7) * 0x0101010101010101U) >> 56) * 8;
    k -= static_cast<std::uint32_t>(((sums << 8) >> shift) & 0xFF);
    // Within the byte: pairs and nibbles again.
    unsigned at = shift;
    const auto low_nibble = static_cast<std::uint32_t>((nibbles >> at) & 0xF);
    const bool upper_nibble = k >= low_nibble;
    k -= upper_nibble ? low_nibble : 0;
    at += upper_nibble ? 4 : 0;
    const auto low_pair = static_cast<std::uint32_t>((pairs >> at) & 3);
    const bool upper_pair = k >= low_pair;
    k -= upper_pair ? low_pair : 0;
    at += upper_pair ? 2 : 0;
    const auto low_bit = static_cast<std::uint32_t>((bits >> at) & 1);
    return at + (k >= low_bit ? 1 : 0);
  }

  std::vector<std::uint64_t> bits_;  // [n / 64]
  std::vector<std::uint16_t> left_;  // [n / 64], set bits of each
  std::size_t total_ = 0;
  std::size_t first_ = 0;  // words before it are empty
};

}  // namespace retrosim
