// The pending events of a simulation, in the order (time, phase, sequence).
//
// Two levels: events due soon wait in a small indexed heap, all others in unsorted radix buckets that are opened one at
// a time when the heap runs dry. Pushing, re-timing and cancelling a distant event touch one bucket, whatever the
// number of events.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/des/event_heap.h"
#include "sim/des/radix_buckets.h"

namespace retrosim {

class EventQueue {
 public:
  static constexpr std::size_t kMaxPending = EventKey::kSlotMask;
  static constexpr std::uint64_t kMaxSequence = (std::uint64_t{1} << EventKey::kSequenceBits) - 1;

  bool empty() const { return near_.empty() && far_.empty(); }
  std::size_t size() const { return near_.size() + far_.size(); }
  /// Time of the last popped event; 0 at first.
  TimePs now() const { return now_; }

  /// Adds an event. Throws std::logic_error when it lies before now() or its phase is not below kNumPhases, and
  /// std::length_error beyond kMaxPending pending events or kMaxSequence pushes.
  EventHandle push(const Event& event) {
    if (event.phase >= kNumPhases) fail_push("event queue: phase too large");
    const std::uint32_t slot = free_.empty() ? new_slot() : free_.back();
    const EventKey key = make_key(event.time, event.phase, slot);
    free_.pop_back();
    Slot& entry = slots_[slot];
    entry.subject = event.subject;
    entry.kind = event.kind;
    insert(key);
    return {slot, where_[slot].generation};
  }

  /// Removes and returns the first event. Throws std::logic_error when there is none.
  Event pop() {
    if (!due()) fail_push("event queue: pop from an empty queue");
    const EventKey key = near_.top();
    near_.pop(where_);
    const Slot& entry = slots_[key.slot()];
    now_ = static_cast<TimePs>(key.time);
    const Event event{now_, entry.subject, entry.kind, static_cast<std::uint8_t>(key.phase())};
    release(key.slot());
    return event;
  }

  /// Time of the first event; kMaxTimePs when there is none.
  TimePs next_time() { return due() ? static_cast<TimePs>(near_.top().time) : kMaxTimePs; }

  /// Moves a pending event to another time and gives it a new sequence, as if cancelled and pushed again; false when
  /// the handle is stale. Throws like push.
  bool retime(EventHandle handle, TimePs time) {
    if (!pending(handle)) return false;
    const std::uint32_t location = where_[handle.slot].location;
    const bool was_far = (location & kFar) != 0;
    const EventKey& old = was_far ? far_.at(location) : near_.at(location);
    const EventKey key = make_key(time, old.phase(), handle.slot);
    if (was_far) {
      far_.remove(location, where_);
      insert(key);
    } else if (key.time < horizon_) {
      near_.replace(location, key, where_);
    } else {
      near_.remove(location, where_);
      insert(key);
    }
    return true;
  }

  /// Removes a pending event; false when the handle is stale.
  bool cancel(EventHandle handle) {
    if (!pending(handle)) return false;
    const std::uint32_t location = where_[handle.slot].location;
    if ((location & kFar) != 0) {
      far_.remove(location, where_);
    } else {
      near_.remove(location, where_);
    }
    release(handle.slot);
    return true;
  }

  /// True while the event is pending.
  bool pending(EventHandle handle) const {
    return handle.slot < where_.size() && where_[handle.slot].generation == handle.generation;
  }

  /// Forgets all events, the time and the sequence; storage is kept and handles become stale.
  void clear();

 private:
  struct Slot {
    std::uint32_t subject;
    std::uint16_t kind;
  };
  // While the heap holds no more than this and the buckets nothing, the buckets are left alone.
  static constexpr std::size_t kHeapAlone = 32;

  EventKey make_key(TimePs time, std::uint64_t phase, std::uint32_t slot) {
    if (time < now_) fail_push("event queue: event before the current time");
    if (sequence_ == kMaxSequence) fail_full();
    return EventKey::make(time, phase, ++sequence_, slot);
  }
  void insert(const EventKey& key) {
    if (key.time < horizon_ || (far_.empty() && near_.size() < kHeapAlone)) {
      near_.push(key, where_);
    } else {
      far_.push(key, where_);
    }
  }
  /// Brings the first event to the top of the heap; false when there is none.
  bool due() {
    while (!far_.empty() && (near_.empty() || near_.top().time >= horizon_)) {
      horizon_ = far_.open_first(where_, [this](const EventKey& key) { near_.push(key, where_); });
    }
    return !near_.empty();
  }
  void release(std::uint32_t slot) {
    ++where_[slot].generation;
    free_.push_back(slot);
  }
  std::uint32_t new_slot();
  [[noreturn]] static void fail_push(const char* what);
  [[noreturn]] static void fail_full();

  EventHeap near_;      // may hold any time
  RadixBuckets far_;    // times at or after the horizon
  KeyLocations where_;  // [slots]
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::uint64_t horizon_ = 0;
  std::uint64_t sequence_ = 0;
  TimePs now_ = 0;
};

}  // namespace retrosim
