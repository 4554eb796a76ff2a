// The event queue against std::priority_queue, in alternating slices of one run so that both see the same machine:
//   hold    pop one event, push its successor                       (goal: ratio <= 1.0)
//   retime  the same with 4 re-timed events per event; the baseline deletes lazily: it pushes the new event and skips
//           outdated ones, known by a generation, as they surface   (goal: speedup >= 2)
// Times between events are exponential (mean 1 us). Counters are medians over the slices of an equal number of events.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <queue>
#include <random>
#include <vector>

#include "sim/des/event_queue.h"

namespace {

using retrosim::Event;
using retrosim::EventHandle;
using retrosim::EventQueue;
using retrosim::TimePs;

constexpr int kEventsPerSlice = 1 << 15;
constexpr int kRetimed = 4;

// Random numbers drawn beforehand, so that neither side pays for them.
struct Draws {
  std::vector<TimePs> delay;
  std::vector<std::uint32_t> victim;
  std::size_t next_delay = 0;
  std::size_t next_victim = 0;

  explicit Draws(std::uint32_t pending) : delay(1 << 16), victim(1 << 16) {
    std::mt19937_64 random(1);
    for (auto& d : delay) d = 1 + static_cast<TimePs>(-1e6 * std::log1p(-std::generate_canonical<double, 53>(random)));
    for (auto& v : victim) v = static_cast<std::uint32_t>(random() % pending);
  }
  TimePs take_delay() { return delay[next_delay++ & 0xffff]; }
  std::uint32_t take_victim() { return victim[next_victim++ & 0xffff]; }
};

// The same event and order as the product's: (time, phase, sequence), a kind and a subject, and a generation.
struct HeapEvent {
  TimePs time;
  std::uint64_t phase_and_sequence;
  std::uint32_t subject;
  std::uint32_t kind_and_generation;
};
struct Later {
  bool operator()(const HeapEvent& a, const HeapEvent& b) const {
    return a.time != b.time ? a.time > b.time : a.phase_and_sequence > b.phase_and_sequence;
  }
};

class PriorityQueueModel {
 public:
  explicit PriorityQueueModel(std::uint32_t pending) : draws_(pending), generation_(pending) {
    std::vector<HeapEvent> storage;
    storage.reserve(std::size_t{16} * pending);
    queue_ = decltype(queue_)(Later{}, std::move(storage));
    for (std::uint32_t i = 0; i < pending; ++i) push(draws_.take_delay(), i);
  }
  TimePs hold(int events) {
    TimePs now = 0;
    for (int i = 0; i < events; ++i) {
      const HeapEvent event = queue_.top();
      queue_.pop();
      now = event.time;
      push(now + draws_.take_delay(), event.subject);
    }
    return now;
  }
  TimePs retime(int events) {
    TimePs now = 0;
    for (int i = 0; i < events;) {
      const HeapEvent event = queue_.top();
      queue_.pop();
      if (event.kind_and_generation != generation_[event.subject]) continue;
      now = event.time;
      for (int r = 0; r < kRetimed; ++r) {
        const std::uint32_t victim = draws_.take_victim();
        const TimePs delay = draws_.take_delay();
        if (victim == event.subject) continue;
        ++generation_[victim];
        push(now + delay, victim);
      }
      push(now + draws_.take_delay(), event.subject);
      ++i;
    }
    return now;
  }

 private:
  void push(TimePs time, std::uint32_t subject) { queue_.push({time, ++sequence_, subject, generation_[subject]}); }
  Draws draws_;
  std::vector<std::uint32_t> generation_;
  std::priority_queue<HeapEvent, std::vector<HeapEvent>, Later> queue_;
  std::uint64_t sequence_ = 0;
};

class EventQueueModel {
 public:
  explicit EventQueueModel(std::uint32_t pending) : draws_(pending), handle_(pending) {
    for (std::uint32_t i = 0; i < pending; ++i) handle_[i] = queue_.push({draws_.take_delay(), i, 0, 0});
  }
  TimePs hold(int events) {
    TimePs now = 0;
    for (int i = 0; i < events; ++i) {
      const Event event = queue_.pop();
      now = event.time;
      queue_.push({now + draws_.take_delay(), event.subject, 0, 0});
    }
    return now;
  }
  TimePs retime(int events) {
    TimePs now = 0;
    for (int i = 0; i < events; ++i) {
      const Event event = queue_.pop();
      now = event.time;
      for (int r = 0; r < kRetimed; ++r) {
        const std::uint32_t victim = draws_.take_victim();
        const TimePs delay = draws_.take_delay();
        if (victim == event.subject) continue;
        queue_.retime(handle_[victim], now + delay);
      }
      handle_[event.subject] = queue_.push({now + draws_.take_delay(), event.subject, 0, 0});
    }
    return now;
  }

 private:
  Draws draws_;
  std::vector<EventHandle> handle_;
  EventQueue queue_;
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double thread_cpu_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e9 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec);
}

// CPU time: what else runs on the machine does not count, but for the caches it dirties.
template <typename Work>
double nanoseconds_per_event(Work work) {
  const double start = thread_cpu_ns();
  benchmark::DoNotOptimize(work());
  return (thread_cpu_ns() - start) / kEventsPerSlice;
}

template <TimePs (EventQueueModel::*Ours)(int), TimePs (PriorityQueueModel::*Theirs)(int)>
void compare(benchmark::State& state) {
  const auto pending = static_cast<std::uint32_t>(state.range(0));
  EventQueueModel ours(pending);
  PriorityQueueModel theirs(pending);
  // Warm-up, until the lazily deleted events have reached their steady number. Both see the same draws, so the
  // simulated times must agree: a wrong order would show here.
  for (int slice = 0; slice < 16; ++slice) {
    if ((ours.*Ours)(kEventsPerSlice) != (theirs.*Theirs)(kEventsPerSlice)) {
      state.SkipWithError("the two queues disagree");
      return;
    }
  }
  std::vector<double> ours_ns;
  std::vector<double> theirs_ns;
  std::vector<double> ratio;
  for (auto _ : state) {
    ours_ns.push_back(nanoseconds_per_event([&] { return (ours.*Ours)(kEventsPerSlice); }));
    theirs_ns.push_back(nanoseconds_per_event([&] { return (theirs.*Theirs)(kEventsPerSlice); }));
    ratio.push_back(ours_ns.back() / theirs_ns.back());
  }
  state.counters["event_queue_ns"] = median(ours_ns);
  state.counters["priority_queue_ns"] = median(theirs_ns);
  state.counters["time_ratio"] = median(ratio);
  state.counters["speedup"] = 1.0 / median(ratio);
}

}  // namespace

BENCHMARK(compare<&EventQueueModel::hold, &PriorityQueueModel::hold>)
    ->Name("hold")
    ->Arg(1024)
    ->Arg(65536)
    ->Iterations(101)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(compare<&EventQueueModel::retime, &PriorityQueueModel::retime>)
    ->Name("retime")
    ->Arg(1024)
    ->Arg(65536)
    ->Iterations(101)
    ->Unit(benchmark::kMillisecond);

BENCHMARK_MAIN();
