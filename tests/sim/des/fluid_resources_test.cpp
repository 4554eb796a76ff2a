#include "sim/des/fluid_resources.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace retrosim {
namespace {

constexpr std::size_t kHbm = 0;
constexpr std::size_t kPcie = 1;

// Starts activities at given times, runs to the end, and notes when each one completed.
class FluidRun {
 public:
  void at(TimePs time, const ActivitySpec& spec) {
    queue_.push({time, static_cast<std::uint32_t>(specs_.size()), kStart, 0});
    specs_.push_back(spec);
  }
  void abort_at(TimePs time, std::uint32_t subject) { queue_.push({time, subject, kAbort, 0}); }
  void run() {
    while (!queue_.empty()) {
      const TimePs now = queue_.next_time();
      do {
        const Event event = queue_.pop();
        if (event.kind == kStart) {
          ActivitySpec spec = specs_[event.subject];
          spec.completion = {0, event.subject, kEnd, 0};
          ids_[event.subject] = fluid_.start(spec);
        } else if (event.kind == kAbort) {
          fluid_.abort(ids_.at(event.subject));
        } else {
          fluid_.complete(ids_.at(event.subject));
          ends_[event.subject] = event.time;
        }
      } while (queue_.next_time() == now);
      fluid_.rebalance();
      for (std::size_t r = 0; r < kMaxResources; ++r) EXPECT_LE(fluid_.used(r), 1 + 1e-9);
    }
  }
  TimePs end(std::uint32_t subject) const { return ends_.contains(subject) ? ends_.at(subject) : -1; }
  std::size_t completed() const { return ends_.size(); }
  const FluidResources& fluid() const { return fluid_; }

 private:
  enum Kind : std::uint16_t { kStart, kAbort, kEnd };
  EventQueue queue_;
  FluidResources fluid_{queue_};
  std::vector<ActivitySpec> specs_;
  std::map<std::uint32_t, ActivityId> ids_;
  std::map<std::uint32_t, TimePs> ends_;
};

TEST(FluidResources, AloneTakesExactlyItsDuration) {
  FluidRun run;
  run.at(1000, {.alone = 777, .share = {0.9}});
  run.run();
  EXPECT_EQ(run.end(0), 1777);
}

TEST(FluidResources, TwoThatNeedAllOfHbmRunAtHalfSpeed) {
  // Both at 1/2. The first needs 100/0.5 = 200. By then the second did 100 of 300; the other 200 go at full speed: 400.
  FluidRun run;
  run.at(0, {.alone = 100, .share = {1.0}});
  run.at(0, {.alone = 300, .share = {1.0}});
  run.run();
  EXPECT_EQ(run.end(0), 200);
  EXPECT_EQ(run.end(1), 400);
  EXPECT_EQ(run.fluid().asked_ps(kHbm), 400.0);
  EXPECT_EQ(run.fluid().done_ps(kHbm), 400.0);
}

TEST(FluidResources, ACopyHidesBehindCompute) {
  // The copy writes 2 % of HBM's bandwidth and uses all of PCIe; 0.95 + 0.02 < 1: neither notices the other.
  FluidRun run;
  run.at(0, {.alone = 1000, .share = {0.95, 0.0}});
  run.at(100, {.alone = 700, .share = {0.02, 1.0}});
  run.run();
  EXPECT_EQ(run.end(0), 1000);
  EXPECT_EQ(run.end(1), 800);
}

TEST(FluidResources, UnequalSharesAreSlowedEqually) {
  // level (1 + 0.5) = 1 -> 2/3 each: both end at 100 / (2/3) = 150.
  FluidRun run;
  run.at(0, {.alone = 100, .share = {1.0}});
  run.at(0, {.alone = 100, .share = {0.5}});
  run.run();
  EXPECT_EQ(run.end(0), 150);
  EXPECT_EQ(run.end(1), 150);
}

TEST(FluidResources, ALateArrivalSlowsWhatIsLeft) {
  // The first has done 60 of 100 when the second comes; the other 40 at 1/2 take 80: ends at 140. By then the second
  // has done 40 of 100; 60 more alone: 200.
  FluidRun run;
  run.at(0, {.alone = 100, .share = {1.0}});
  run.at(60, {.alone = 100, .share = {1.0}});
  run.run();
  EXPECT_EQ(run.end(0), 140);
  EXPECT_EQ(run.end(1), 200);
}

TEST(FluidResources, ThreeActivitiesOverTwoResources) {
  // Rates 1/2, 1/2, 1 (max_min_test.cpp). C ends at 100; A and B have done 50 each. They still share resource 0: the
  // other 50 at 1/2 take 100: both end at 200.
  FluidRun run;
  run.at(0, {.alone = 100, .share = {1.0, 0.0}});
  run.at(0, {.alone = 100, .share = {1.0, 1.0}});
  run.at(0, {.alone = 100, .share = {0.0, 0.5}});
  run.run();
  EXPECT_EQ(run.end(0), 200);
  EXPECT_EQ(run.end(1), 200);
  EXPECT_EQ(run.end(2), 100);
  EXPECT_EQ(run.fluid().done_ps(kHbm), 200.0);
  EXPECT_EQ(run.fluid().done_ps(kPcie), 150.0);
}

TEST(FluidResources, ACapLeavesCapacityToTheOthers) {
  // Rates 1 and 0.8 (max_min_test.cpp): the first ends at 80, when the second has done 64 of 100; 36 more alone: 116.
  FluidRun run;
  run.at(0, {.alone = 80, .share = {0.2}, .weight = 4});
  run.at(0, {.alone = 100, .share = {1.0}});
  run.run();
  EXPECT_EQ(run.end(0), 80);
  EXPECT_EQ(run.end(1), 116);
}

TEST(FluidResources, CompletionsRoundUpToAPicosecond) {
  // Three at 1/3: 10 / (1/3) = 30. Two at 1/2 and an odd length: 7 / 0.5 = 14; 7 of 8 done, 1 more alone: 15.
  FluidRun run;
  run.at(0, {.alone = 7, .share = {1.0}});
  run.at(0, {.alone = 8, .share = {1.0}});
  run.run();
  EXPECT_EQ(run.end(0), 14);
  EXPECT_EQ(run.end(1), 15);
}

TEST(FluidResources, AnAbortedActivityGivesItsShareBack) {
  // Until 50 both at 1/2: the first has done 25 of 100. Then alone: 75 more.
  FluidRun run;
  run.at(0, {.alone = 100, .share = {1.0}});
  run.at(0, {.alone = 100, .share = {1.0}});
  run.abort_at(50, 1);
  run.run();
  EXPECT_EQ(run.end(0), 125);
  EXPECT_EQ(run.end(1), -1);
}

TEST(FluidResources, AnActivityWithoutWorkEndsAtOnce) {
  FluidRun run;
  run.at(5, {.alone = 0, .share = {1.0}});
  run.run();
  EXPECT_EQ(run.end(0), 5);
}

TEST(FluidResources, RefusesNonsense) {
  EventQueue queue;
  FluidResources fluid(queue);
  EXPECT_THROW(fluid.start({.alone = -1}), std::logic_error);
  EXPECT_THROW(fluid.start({.alone = 1, .share = {1.01}}), std::logic_error);
  EXPECT_THROW(fluid.start({.alone = 1, .share = {-0.1}}), std::logic_error);
  EXPECT_THROW(fluid.start({.alone = 1, .share = {std::nan("")}}), std::logic_error);
  EXPECT_THROW(fluid.start({.alone = 1, .weight = 0}), std::logic_error);
  EXPECT_THROW(FluidResources(queue, PerResource{}), std::logic_error);
}

TEST(FluidResources, NoticesAForgottenRebalanceAndAnEarlyEnd) {
  EventQueue queue;
  FluidResources fluid(queue);
  const ActivityId id = fluid.start({.alone = 100, .share = {1.0}});
  queue.push({10, 0, 0, 0});
  queue.pop();
  EXPECT_THROW(fluid.rebalance(), std::logic_error);

  queue.clear();
  fluid.clear();
  const ActivityId again = fluid.start({.alone = 100, .share = {1.0}});
  EXPECT_EQ(again, id);
  fluid.rebalance();
  queue.push({10, 0, 0, 0});
  queue.pop();
  EXPECT_THROW(fluid.complete(again), std::logic_error);  // 90 of 100 are left
}

// Conservation, at random: everything that starts ends, work done = work asked on each resource to a picosecond per
// activity, nothing ends before its time alone, and a second run gives the same times.
TEST(FluidResources, ConservesWork) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    std::vector<std::pair<TimePs, ActivitySpec>> plan;
    std::mt19937_64 random(seed);
    const auto uniform = [&random] { return std::generate_canonical<double, 53>(random); };
    for (int i = 0; i < 200; ++i) {
      ActivitySpec spec{.alone = static_cast<TimePs>(random() % 1'000'000)};
      for (double& share : spec.share) share = random() % 3 == 0 ? uniform() : 0.0;
      plan.emplace_back(static_cast<TimePs>(random() % 20'000'000), spec);
    }
    FluidRun run;
    FluidRun again;
    for (const auto& [time, spec] : plan) {
      run.at(time, spec);
      again.at(time, spec);
    }
    run.run();
    again.run();
    ASSERT_EQ(run.completed(), plan.size());
    for (std::uint32_t i = 0; i < plan.size(); ++i) {
      ASSERT_GE(run.end(i), plan[i].first + plan[i].second.alone);
      ASSERT_EQ(run.end(i), again.end(i));
    }
    for (std::size_t r = 0; r < kMaxResources; ++r) {
      double asked = 0;
      for (const auto& [time, spec] : plan) asked += spec.share[r] * static_cast<double>(spec.alone);
      ASSERT_NEAR(run.fluid().asked_ps(r), asked, 1e-9 * asked);
      ASSERT_NEAR(run.fluid().done_ps(r), asked, static_cast<double>(plan.size()));
    }
  }
}

}  // namespace
}  // namespace retrosim
