// Unsorted buckets for events that are not due soon: a radix queue over the bits of the time.
//
// Every key's time is at or after a base. The highest 6-bit digit in which it differs from the base names its level,
// and the digit itself its bucket there; so buckets are ordered by (level, digit), and all times of one come before all
// times of the next. Opening the first bucket moves the base to its beginning, which leaves the other buckets in their
// places, and spreads its keys over lower levels. (Ahuja, Mehlhorn, Orlin, Tarjan 1990, "Faster algorithms for the
// shortest path problem": radix heaps; here with 64 buckets per level.)
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <vector>

#include "sim/des/event_key.h"

namespace retrosim {

class RadixBuckets {
 public:
  using Bucket = std::vector<EventKey>;

  RadixBuckets() : buckets_(kLevels * kDigits) {}

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }

  /// Requires key.time >= base(): the beginning of the bucket that was opened last.
  void push(const EventKey& key, KeyLocations& where) {
    insert(key, where);
    ++size_;
  }
  const EventKey& at(std::uint32_t location) const {
    return buckets_[bucket_of(location)][location & EventKey::kSlotMask];
  }
  void remove(std::uint32_t location, KeyLocations& where) {
    const std::size_t id = bucket_of(location);
    Bucket& bucket = buckets_[id];
    EventKey& gap = bucket[location & EventKey::kSlotMask];
    gap = bucket.back();
    where[gap.slot()].location = location;
    bucket.pop_back();
    if (bucket.empty()) unmark(id);
    --size_;
  }

  /// Takes out the first bucket that is small or cannot be divided, and calls `take(key)` for its keys; requires
  /// !empty(). Returns the time at which that bucket ends; all remaining times are at or after it.
  template <typename Take>
  std::uint64_t open_first(KeyLocations& where, Take take) {
    for (;;) {
      const auto level = static_cast<std::size_t>(std::countr_zero(levels_));
      const auto digit = static_cast<std::size_t>(std::countr_zero(marks_[level]));
      const std::size_t id = level * kDigits + digit;
      // The base keeps its digits above this level, takes this bucket's digit, and starts with zeros below.
      const std::size_t shift = level * kDigitBits;
      const std::uint64_t above = level + 1 < kLevels ? ~std::uint64_t{0} << (shift + kDigitBits) : 0;
      base_ = (base_ & above) | std::uint64_t{digit} << shift;
      unmark(id);
      Bucket& bucket = buckets_[id];
      if (level == 0 || bucket.size() <= kSmall) {
        size_ -= bucket.size();
        for (const EventKey& key : bucket) take(key);
        bucket.clear();
        return base_ + (std::uint64_t{1} << shift);
      }
      // Keys move to lower levels only, never into the bucket that is being read.
      for (const EventKey& key : bucket) insert(key, where);
      bucket.clear();
    }
  }

  template <typename Visit>
  void for_each(Visit visit) const {
    for (const Bucket& bucket : buckets_) {
      for (const EventKey& key : bucket) visit(key);
    }
  }
  void clear() {
    if (!empty()) {
      for (Bucket& bucket : buckets_) bucket.clear();
    }
    marks_.fill(0);
    levels_ = 0;
    size_ = 0;
    base_ = 0;
  }

 private:
  static constexpr std::size_t kDigitBits = 6;
  static constexpr std::size_t kDigits = 64;
  static constexpr std::size_t kLevels = 11;  // 66 bits
  static constexpr std::size_t kSmall = 48;   // keys; a heap of them lives in the first-level cache

  static std::size_t bucket_of(std::uint32_t location) { return (location & ~kFar) >> EventKey::kSlotBits; }
  void unmark(std::size_t id) {
    marks_[id / kDigits] &= ~(std::uint64_t{1} << id % kDigits);
    if (marks_[id / kDigits] == 0) levels_ &= ~(std::uint32_t{1} << id / kDigits);
  }
  void insert(const EventKey& key, KeyLocations& where) {
    const auto highest = static_cast<std::size_t>(std::bit_width((key.time ^ base_) | 1)) - 1;
    const std::size_t level = highest / kDigitBits;
    const std::size_t digit = key.time >> level * kDigitBits & (kDigits - 1);
    const std::size_t id = level * kDigits + digit;
    Bucket& bucket = buckets_[id];
    where[key.slot()].location = kFar | static_cast<std::uint32_t>(id << EventKey::kSlotBits | bucket.size());
    bucket.push_back(key);
    marks_[level] |= std::uint64_t{1} << digit;
    levels_ |= std::uint32_t{1} << level;
  }

  std::vector<Bucket> buckets_;                 // [kLevels * kDigits]
  std::array<std::uint64_t, kLevels> marks_{};  // bit d: bucket d of the level holds keys
  std::uint32_t levels_ = 0;                    // bit l: some bucket of level l holds keys
  std::size_t size_ = 0;
  std::uint64_t base_ = 0;
};

}  // namespace retrosim
