// The order of events, packed: (time, phase, sequence) and the slot of the event's payload in two machine words.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/des/event.h"

namespace retrosim {

struct EventKey {
  std::uint64_t time = 0;
  std::uint64_t rest = 0;  // phase:4 | sequence:40 | slot:20

  static constexpr int kSlotBits = 20;
  static constexpr int kSequenceBits = 40;
  static constexpr std::uint64_t kSlotMask = (std::uint64_t{1} << kSlotBits) - 1;

  static EventKey make(TimePs time, std::uint64_t phase, std::uint64_t sequence, std::uint32_t slot) {
    return {static_cast<std::uint64_t>(time), phase << (kSlotBits + kSequenceBits) | sequence << kSlotBits | slot};
  }
  std::uint32_t slot() const { return static_cast<std::uint32_t>(rest & kSlotMask); }
  std::uint64_t phase() const { return rest >> (kSlotBits + kSequenceBits); }

  // Without a branch: which of two pending events comes first is not predictable. Sequences differ, so keys never tie.
  friend bool operator<(const EventKey& a, const EventKey& b) {
    return ((a.time < b.time) | ((a.time == b.time) & (a.rest < b.rest))) != 0;
  }
};
static_assert(sizeof(EventKey) == 16);

/// Where the key of a slot lies now: an index in the heap, or kFar | bucket << kSlotBits | index in the bucket. Beside
/// it the generation of the slot, so that checking a handle and finding its event touch one cache line.
struct KeyPlace {
  std::uint32_t location = 0;
  std::uint32_t generation = 0;
};
using KeyLocations = std::vector<KeyPlace>;  // [slots]
inline constexpr std::uint32_t kFar = std::uint32_t{1} << 31;

}  // namespace retrosim
