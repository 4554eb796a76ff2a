// Oracle of the event queue: a std::map in the documented order, with the same interface.
#pragma once

#include <map>
#include <stdexcept>
#include <tuple>

#include "sim/des/event.h"

namespace retrosim {

class NaiveEventQueue {
 public:
  bool empty() const { return events_.empty(); }
  std::size_t size() const { return events_.size(); }
  TimePs now() const { return now_; }

  EventHandle push(const Event& event) {
    check(event.time);
    if (event.phase >= kNumPhases) throw std::logic_error("phase");
    const std::uint32_t id = next_id_++;
    add(id, event);
    return {id, 0};
  }
  Event pop() {
    if (events_.empty()) throw std::logic_error("empty");
    const auto [id, event] = events_.begin()->second;
    events_.erase(events_.begin());
    place_.erase(id);
    now_ = event.time;
    return event;
  }
  TimePs next_time() { return events_.empty() ? kMaxTimePs : events_.begin()->second.second.time; }
  bool retime(EventHandle handle, TimePs time) {
    const auto place = place_.find(handle.slot);
    if (place == place_.end()) return false;
    check(time);
    Event event = events_.at(place->second).second;
    events_.erase(place->second);
    event.time = time;
    add(handle.slot, event);
    return true;
  }
  bool cancel(EventHandle handle) {
    const auto place = place_.find(handle.slot);
    if (place == place_.end()) return false;
    events_.erase(place->second);
    place_.erase(place);
    return true;
  }
  bool pending(EventHandle handle) const { return place_.contains(handle.slot); }
  void clear() {
    events_.clear();
    place_.clear();
    now_ = 0;
  }

 private:
  using Order = std::tuple<TimePs, int, std::uint64_t>;  // time, phase, sequence
  void check(TimePs time) const {
    if (time < now_) throw std::logic_error("past");
  }
  void add(std::uint32_t id, const Event& event) {
    const Order order{event.time, event.phase, ++sequence_};
    events_[order] = {id, event};
    place_[id] = order;
  }
  std::map<Order, std::pair<std::uint32_t, Event>> events_;
  std::map<std::uint32_t, Order> place_;
  std::uint32_t next_id_ = 0;  // never used again, so that stale handles are simply absent
  std::uint64_t sequence_ = 0;
  TimePs now_ = 0;
};

}  // namespace retrosim
