#include "sim/des/event_queue.h"

#include <stdexcept>

namespace retrosim {

std::uint32_t EventQueue::new_slot() {
  if (slots_.size() >= kMaxPending) fail_full();
  const auto slot = static_cast<std::uint32_t>(slots_.size());
  slots_.push_back({});
  where_.push_back({});
  free_.push_back(slot);
  return slot;
}

void EventQueue::clear() {
  near_.for_each([this](const EventKey& key) { release(key.slot()); });
  far_.for_each([this](const EventKey& key) { release(key.slot()); });
  near_.clear();
  far_.clear();
  horizon_ = 0;
  sequence_ = 0;
  now_ = 0;
}

void EventQueue::fail_push(const char* what) { throw std::logic_error(what); }

void EventQueue::fail_full() { throw std::length_error("event queue: too many pending events or pushes"); }

}  // namespace retrosim
