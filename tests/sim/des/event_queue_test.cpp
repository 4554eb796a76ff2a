#include "sim/des/event_queue.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/sim/des/naive_event_queue.h"

namespace retrosim {
namespace {

// One suite over the queue and its oracle (what the oracle does wrong, the random comparison below could not see).
template <typename Queue>
class EventQueueTest : public testing::Test {};
using Queues = testing::Types<EventQueue, NaiveEventQueue>;
TYPED_TEST_SUITE(EventQueueTest, Queues);

TYPED_TEST(EventQueueTest, PopsByTime) {
  TypeParam queue;
  for (const TimePs time : {30, 10, 20}) queue.push({time, static_cast<std::uint32_t>(time), 0, 0});
  EXPECT_EQ(queue.next_time(), 10);
  for (const TimePs time : {10, 20, 30}) {
    const Event event = queue.pop();
    EXPECT_EQ(event.time, time);
    EXPECT_EQ(event.subject, static_cast<std::uint32_t>(time));
    EXPECT_EQ(queue.now(), time);
  }
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.next_time(), kMaxTimePs);
}

TYPED_TEST(EventQueueTest, EqualTimesGoByPhaseThenByOrderOfPush) {
  TypeParam queue;
  queue.push({5, 0, 0, 2});
  queue.push({5, 1, 0, 1});
  queue.push({5, 2, 0, 2});
  queue.push({5, 3, 0, 1});
  queue.push({5, 4, 0, 15});
  queue.push({5, 5, 0, 0});
  std::vector<std::uint32_t> order;
  while (!queue.empty()) order.push_back(queue.pop().subject);
  EXPECT_EQ(order, (std::vector<std::uint32_t>{5, 1, 3, 0, 2, 4}));
}

TYPED_TEST(EventQueueTest, AHundredEqualTimesStayInOrder) {
  TypeParam queue;
  for (std::uint32_t i = 0; i < 100; ++i) queue.push({1'000'000, i, 0, 0});
  for (std::uint32_t i = 0; i < 100; ++i) EXPECT_EQ(queue.pop().subject, i);
}

TYPED_TEST(EventQueueTest, RetimingCountsAsANewPush) {
  TypeParam queue;
  const EventHandle first = queue.push({5, 1, 7, 3});
  queue.push({5, 2, 0, 3});
  EXPECT_TRUE(queue.retime(first, 5));  // same time, but behind the other now
  EXPECT_EQ(queue.pop().subject, 2u);
  EXPECT_EQ(queue.pop(), (Event{5, 1, 7, 3}));  // kind and phase are kept
}

TYPED_TEST(EventQueueTest, RetimesForwardAndBack) {
  TypeParam queue;
  const EventHandle a = queue.push({10, 1, 0, 0});
  const EventHandle b = queue.push({20, 2, 0, 0});
  EXPECT_TRUE(queue.retime(a, TimePs{1} << 60));
  EXPECT_TRUE(queue.retime(b, 3));
  EXPECT_EQ(queue.pop(), (Event{3, 2, 0, 0}));
  EXPECT_TRUE(queue.retime(a, 3));
  EXPECT_EQ(queue.pop(), (Event{3, 1, 0, 0}));
}

TYPED_TEST(EventQueueTest, CancelledEventsNeverCome) {
  TypeParam queue;
  const EventHandle a = queue.push({10, 1, 0, 0});
  queue.push({20, 2, 0, 0});
  EXPECT_TRUE(queue.pending(a));
  EXPECT_TRUE(queue.cancel(a));
  EXPECT_FALSE(queue.pending(a));
  EXPECT_FALSE(queue.cancel(a));
  EXPECT_FALSE(queue.retime(a, 30));
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(queue.pop().subject, 2u);
}

TYPED_TEST(EventQueueTest, AStaleHandleDoesNotTouchTheNextEventInItsPlace) {
  TypeParam queue;
  const EventHandle old = queue.push({10, 1, 0, 0});
  queue.pop();
  const EventHandle fresh = queue.push({20, 2, 0, 0});
  EXPECT_FALSE(queue.pending(old));
  EXPECT_FALSE(queue.cancel(old));
  EXPECT_TRUE(queue.pending(fresh));
  EXPECT_FALSE(queue.pending(EventHandle{}));
}

TYPED_TEST(EventQueueTest, RefusesThePastAndUnknownPhases) {
  TypeParam queue;
  queue.push({10, 1, 0, 0});
  const EventHandle b = queue.push({20, 2, 0, 0});
  queue.pop();
  EXPECT_THROW(queue.push({9, 0, 0, 0}), std::logic_error);
  EXPECT_THROW(queue.push({-1, 0, 0, 0}), std::logic_error);
  EXPECT_THROW(queue.push({10, 0, 0, kNumPhases}), std::logic_error);
  EXPECT_THROW(queue.retime(b, 9), std::logic_error);
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(queue.pop(), (Event{20, 2, 0, 0}));
  EXPECT_THROW(queue.pop(), std::logic_error);
}

TYPED_TEST(EventQueueTest, ClearForgetsEverything) {
  TypeParam queue;
  std::vector<EventHandle> handles;
  for (std::uint32_t i = 0; i < 200; ++i) handles.push_back(queue.push({1000 * (i + 1), i, 0, 0}));
  queue.pop();
  queue.clear();
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.now(), 0);
  for (const EventHandle handle : handles) EXPECT_FALSE(queue.pending(handle));
  queue.push({1, 9, 0, 0});
  EXPECT_EQ(queue.pop().subject, 9u);
}

// Random pushes, pops, re-timings and cancellations, in lockstep with the oracle, over short and long delays, few and
// many pending events, and times that collide.
struct Mix {
  TimePs max_delay;
  std::size_t pending;
};
class EventQueueAgainstOracle : public testing::TestWithParam<Mix> {};

TEST_P(EventQueueAgainstOracle, AgreesAtEveryStep) {
  const Mix mix = GetParam();
  std::mt19937_64 random(42);
  EventQueue queue;
  NaiveEventQueue oracle;
  std::vector<std::pair<EventHandle, EventHandle>> handles;
  const auto draw = [&random](std::uint64_t n) { return random() % n; };
  const auto draw_time = [&] {
    // Half of the delays are spread over the scales, half uniformly.
    const auto range = static_cast<std::uint64_t>(mix.max_delay);
    const std::uint64_t delay = draw(2) == 0 ? draw(range) : draw((range >> draw(63)) + 1);
    return queue.now() + static_cast<TimePs>(delay);
  };
  for (int step = 0; step < 40000; ++step) {
    const std::uint64_t choice = draw(queue.size() < mix.pending ? 6 : 4);
    if (choice == 0 && !queue.empty()) {
      ASSERT_EQ(queue.next_time(), oracle.next_time());
      ASSERT_EQ(queue.pop(), oracle.pop());
    } else if (choice == 1 && !handles.empty()) {
      const auto [a, b] = handles[draw(handles.size())];  // often stale
      const TimePs time = draw_time();
      ASSERT_EQ(queue.retime(a, time), oracle.retime(b, time));
    } else if (choice == 2 && !handles.empty() && draw(4) == 0) {
      const auto [a, b] = handles[draw(handles.size())];
      ASSERT_EQ(queue.cancel(a), oracle.cancel(b));
    } else if (choice >= 3) {
      const Event event{draw_time(), static_cast<std::uint32_t>(step), static_cast<std::uint16_t>(draw(9)),
                        static_cast<std::uint8_t>(draw(kNumPhases))};
      const std::pair both{queue.push(event), oracle.push(event)};
      if (handles.size() < mix.pending) {
        handles.push_back(both);
      } else {
        handles[draw(handles.size())] = both;
      }
    }
    ASSERT_EQ(queue.size(), oracle.size());
  }
  while (!oracle.empty()) ASSERT_EQ(queue.pop(), oracle.pop());
  EXPECT_TRUE(queue.empty());
}

INSTANTIATE_TEST_SUITE_P(Mixes, EventQueueAgainstOracle,
                         testing::Values(Mix{1, 8}, Mix{3, 1000}, Mix{1000, 4}, Mix{1000, 300}, Mix{1'000'000, 40},
                                         Mix{1'000'000'000, 5000}, Mix{1'000'000'000'000'000, 2000}));

TEST(TimePs, RoundsToTheNearestPicosecond) {
  EXPECT_EQ(ps_from_seconds(0), 0);
  EXPECT_EQ(ps_from_seconds(1.4e-12), 1);
  EXPECT_EQ(ps_from_seconds(1.6e-12), 2);
  EXPECT_EQ(ps_from_seconds(5e-6), 5'000'000);
  EXPECT_DOUBLE_EQ(seconds_from_ps(5'000'000), 5e-6);
  EXPECT_DOUBLE_EQ(us_from_ps(5'000'000), 5.0);
  EXPECT_THROW(ps_from_seconds(-1e-12), std::domain_error);
  EXPECT_THROW(ps_from_seconds(std::nan("")), std::domain_error);
  EXPECT_THROW(ps_from_seconds(1e9), std::domain_error);
}

}  // namespace
}  // namespace retrosim
