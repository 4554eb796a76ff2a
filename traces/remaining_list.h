// The positions 0..n-1 of a list from which one after the other is taken: which is the k-th left, and the how-many-th
// left is this one. One bit per position; for each word of 64 bits how many are left before it in its group of 16
// words, and for each group how many are left before it. Finding and updating are loops without branches, so that the
// next take need not wait for a guess about this one.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace retrosim {

class RemainingList {
 public:
  /// All of 0..n-1 are there again.
  void fill(std::size_t n) {
    const std::size_t groups = (n + kGroup - 1) / kGroup;
    bits_.assign(groups * kWords, ~std::uint64_t{0});
    before_word_.resize(groups * kWords);
    before_group_.resize(groups);
    for (std::size_t group = 0; group < groups; ++group)
      before_group_[group] = static_cast<std::uint32_t>(group * kGroup);
    for (std::size_t word = 0; word < groups * kWords; ++word) {
      before_word_[word] = static_cast<std::int16_t>(word % kWords * 64);
    }
    size_ = n;
  }

  std::size_t size() const { return size_; }

  /// Takes the k-th position left, k < size().
  std::uint32_t take(std::uint32_t k) {
    // Groups and words after the one that holds it are those with more than k left before them; they lose one.
    std::size_t after = 0;
    for (std::uint32_t& before : before_group_) {
      const std::uint32_t later = before > k ? 1 : 0;
      before -= later;
      after += later;
    }
    const std::size_t group = before_group_.size() - 1 - after;
    const auto rest = static_cast<std::int16_t>(k - before_group_[group]);
    std::int16_t* words = before_word_.data() + group * kWords;
    std::int16_t later_words = 0;
    for (std::size_t i = 0; i < kWords; ++i) {
      const auto later = static_cast<std::int16_t>(words[i] > rest ? 1 : 0);
      words[i] = static_cast<std::int16_t>(words[i] - later);
      later_words = static_cast<std::int16_t>(later_words + later);
    }
    const std::size_t in_group = kWords - 1 - static_cast<std::size_t>(later_words);
    const std::size_t word = group * kWords + in_group;
    const unsigned bit = select(bits_[word], static_cast<std::uint32_t>(rest - words[in_group]));
    bits_[word] &= ~(std::uint64_t{1} << bit);
    --size_;
    return static_cast<std::uint32_t>(word * 64 + bit);
  }

  /// Takes `position`, which must be left; returns how many before it are left.
  std::uint32_t take_position(std::uint32_t position) {
    const std::size_t word = position / 64;
    const std::size_t group = position / kGroup;
    const std::uint64_t bit = std::uint64_t{1} << (position % 64);
    const std::uint32_t k =
        before_group_[group] + static_cast<std::uint32_t>(before_word_[word]) + count(bits_[word] & (bit - 1));
    for (std::size_t i = group + 1; i < before_group_.size(); ++i) --before_group_[i];
    // All words of the group, so that nothing has to be guessed: those after this one lose one.
    std::int16_t* words = before_word_.data() + group * kWords;
    const std::int16_t* lost = kAfter.data() + (kWords - 1 - word % kWords);
    for (std::size_t i = 0; i < kWords; ++i) words[i] = static_cast<std::int16_t>(words[i] - lost[i]);
    bits_[word] &= ~bit;
    --size_;
    return k;
  }

 private:
  static constexpr std::size_t kWords = 16;           // of a group
  static constexpr std::size_t kGroup = kWords * 64;  // positions
  // kWords zeros, then ones: from kWords - 1 - w on, 1 for the words after the w-th.
  static constexpr auto kAfter = [] {
    std::array<std::int16_t, 2 * kWords> after{};
    std::fill(after.begin() + kWords, after.end(), std::int16_t{1});
    return after;
  }();

  // Set bits; std::popcount is a function call where the processor's instruction may not be assumed.
  static std::uint32_t count(std::uint64_t bits) {
    const std::uint64_t pairs = bits - ((bits >> 1) & 0x5555555555555555U);
    const std::uint64_t nibbles = (pairs & 0x3333333333333333U) + ((pairs >> 2) & 0x3333333333333333U);
    const std::uint64_t bytes = (nibbles + (nibbles >> 4)) & 0x0F0F0F0F0F0F0F0FU;
    return static_cast<std::uint32_t>((bytes * 0x0101010101010101U) >> 56);
  }

  /// Index of the k-th set bit, k below their number.
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

  std::vector<std::uint64_t> bits_;          // [groups * kWords], set: left (also beyond n, where nobody asks)
  std::vector<std::int16_t> before_word_;    // [groups * kWords], left before the word in its group
  std::vector<std::uint32_t> before_group_;  // [groups], left before the group
  std::size_t size_ = 0;
};

}  // namespace retrosim
