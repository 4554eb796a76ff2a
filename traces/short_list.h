// RemainingList's take() for a list of at most 1,024 positions, several times as fast: how many are left before each
// word of 64 bits stays in vector registers, and the k-th set bit is found by one instruction (PDEP of BMI2). Used only
// where the processor has it: available().
#pragma once

#if defined(__x86_64__)

#include <emmintrin.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace retrosim {

/// kRegisters * 8 words of 64 positions.
template <int kRegisters>
class ShortList {
 public:
  static constexpr std::size_t kMostPositions = std::size_t{kRegisters} * 8 * 64;

  static bool available() {
    static const bool has_pdep = __builtin_cpu_supports("bmi2") != 0;
    return has_pdep;
  }

  /// All of 0..n-1 are there, n at most kMostPositions.
  ShortList() {
    bits_.fill(~std::uint64_t{0});  // also beyond n, where nobody asks
    for (int r = 0; r < kRegisters; ++r) {
      const auto first = static_cast<std::int16_t>(r * 512);
      before_[r] = _mm_add_epi16(_mm_set1_epi16(first), _mm_setr_epi16(0, 64, 128, 192, 256, 320, 384, 448));
    }
  }

  /// Takes the k-th position left, k below their number.
  std::uint32_t take(std::uint32_t k) {
    // Words after the one that holds it are those with more than k left before them; they lose one (-1 is added).
    const __m128i least = _mm_set1_epi16(static_cast<std::int16_t>(k));
    std::uint64_t later_bytes = ~std::uint64_t{0} << (16 * kRegisters % 64);
    alignas(16) std::array<std::int16_t, std::size_t{kRegisters} * 8> left_before;
    for (int r = 0; r < kRegisters; ++r) {
      const __m128i later = _mm_cmpgt_epi16(before_[r], least);
      before_[r] = _mm_add_epi16(before_[r], later);
      _mm_store_si128(reinterpret_cast<__m128i*>(left_before.data() + std::size_t{8} * r), before_[r]);
      later_bytes |= static_cast<std::uint64_t>(static_cast<unsigned>(_mm_movemask_epi8(later))) << (16 * r);
    }
    const auto word = static_cast<std::size_t>(__builtin_ctzll(later_bytes)) / 2 - 1;
    const std::uint32_t rest = k - static_cast<std::uint32_t>(left_before[word]);
    const std::uint64_t bit = deposit(std::uint64_t{1} << rest, bits_[word]);
    bits_[word] ^= bit;
    return static_cast<std::uint32_t>(word * 64) + static_cast<std::uint32_t>(__builtin_ctzll(bit));
  }

 private:
  /// The bits of `source`, lowest first, at the places of the set bits of `mask`. Assembly, because the intrinsic asks
  /// for a file compiled for such processors only.
  static std::uint64_t deposit(std::uint64_t source, std::uint64_t mask) {
    std::uint64_t result = 0;
    asm("pdepq %2, %1, %0" : "=r"(result) : "r"(source), "rm"(mask));
    return result;
  }

  std::array<std::uint64_t, std::size_t{kRegisters} * 8> bits_;  // set: left
  __m128i before_[kRegisters];                                   // left before each word
};

}  // namespace retrosim

#endif
