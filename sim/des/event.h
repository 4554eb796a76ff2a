// A discrete event: when, in which phase of that instant, and a tag that the simulation interprets.
#pragma once

#include <cstdint>

#include "sim/des/time.h"

namespace retrosim {

/// Events are ordered by (time, phase, sequence); the sequence is the order in which they were pushed or re-timed.
struct Event {
  TimePs time = 0;
  std::uint32_t subject = 0;  // who: an operation, an activity, a request
  std::uint16_t kind = 0;     // what happens, an enumerator of the simulation
  std::uint8_t phase = 0;     // < kNumPhases: at equal times lower phases come first
  friend bool operator==(const Event&, const Event&) = default;
};

inline constexpr int kNumPhases = 16;

/// Names a pending event until it is popped or cancelled; later it is stale, and never means another event.
struct EventHandle {
  std::uint32_t slot = UINT32_MAX;
  std::uint32_t generation = 0;
};

}  // namespace retrosim
