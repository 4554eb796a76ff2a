#include "sim/des/max_min.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace retrosim {
namespace {

PerResource ones() {
  PerResource all{};
  all.fill(1.0);
  return all;
}

TEST(MaxMin, AloneEverythingRunsAtFullSpeed) {
  std::vector<RateRequest> requests{{.share = {1.0, 0.3}}};
  allocate_max_min(requests, ones());
  EXPECT_EQ(requests[0].rate, 1.0);
}

TEST(MaxMin, EnoughForAllLeavesAllAlone) {
  // 0.9 + 0.1 fills the resource exactly.
  std::vector<RateRequest> requests{{.share = {0.9}}, {.share = {0.1}}, {.share = {0.0, 1.0}}};
  allocate_max_min(requests, ones());
  for (const RateRequest& r : requests) EXPECT_EQ(r.rate, 1.0);
}

TEST(MaxMin, TwoThatWantAllGetHalf) {
  std::vector<RateRequest> requests{{.share = {1.0}}, {.share = {1.0}}};
  allocate_max_min(requests, ones());
  EXPECT_EQ(requests[0].rate, 0.5);
  EXPECT_EQ(requests[1].rate, 0.5);
}

TEST(MaxMin, UnequalSharesSlowDownEqually) {
  // level * (1 + 0.5) = 1  ->  2/3 each, using 2/3 and 1/3 of the resource.
  std::vector<RateRequest> requests{{.share = {1.0}}, {.share = {0.5}}};
  allocate_max_min(requests, ones());
  EXPECT_DOUBLE_EQ(requests[0].rate, 2.0 / 3);
  EXPECT_DOUBLE_EQ(requests[1].rate, 2.0 / 3);
}

TEST(MaxMin, ThreeOverTwoResources) {
  // Resource 0 is asked for 1 + 1 and is full at level 1/2, which settles the first two. Resource 1 then has 1 - 1/2
  // left, and the third needs just that at full speed: it is capped at 1.
  std::vector<RateRequest> requests{{.share = {1.0, 0.0}}, {.share = {1.0, 1.0}}, {.share = {0.0, 0.5}}};
  allocate_max_min(requests, ones());
  EXPECT_DOUBLE_EQ(requests[0].rate, 0.5);
  EXPECT_DOUBLE_EQ(requests[1].rate, 0.5);
  EXPECT_DOUBLE_EQ(requests[2].rate, 1.0);
}

TEST(MaxMin, ASecondBottleneckSharesWhatTheFirstLeaves) {
  // Resource 0 would be full at level 1/2, but resource 1 fills first:
  // level * (0.4 + 1 + 1) = 1 -> 1/2.4 = 0.41667 for the second, third and fourth; the first gets 1 - 0.41667 =
  // 0.58333.
  std::vector<RateRequest> requests{
      {.share = {1.0, 0.0}}, {.share = {1.0, 0.4}}, {.share = {0.0, 1.0}}, {.share = {0.0, 1.0}}};
  allocate_max_min(requests, ones());
  EXPECT_DOUBLE_EQ(requests[0].rate, 1 - 1 / 2.4);
  for (int i = 1; i < 4; ++i) EXPECT_DOUBLE_EQ(requests[static_cast<std::size_t>(i)].rate, 1 / 2.4);
}

TEST(MaxMin, ACapLeavesCapacityToTheOthers) {
  // The first has weight 4: it reaches its cap at level 1/4, before 0.2*4 + 1 = 1.8 fills the resource at 1/1.8. It
  // uses 0.2, so the second gets 0.8.
  std::vector<RateRequest> requests{{.share = {0.2}, .weight = 4}, {.share = {1.0}}};
  allocate_max_min(requests, ones());
  EXPECT_DOUBLE_EQ(requests[0].rate, 1.0);
  EXPECT_DOUBLE_EQ(requests[1].rate, 0.8);
}

TEST(MaxMin, WeightsDivideAFullResource) {
  // level * (3 + 1) = 1  ->  3/4 and 1/4.
  std::vector<RateRequest> requests{{.share = {1.0}, .weight = 3}, {.share = {1.0}, .weight = 1}};
  allocate_max_min(requests, ones());
  EXPECT_DOUBLE_EQ(requests[0].rate, 0.75);
  EXPECT_DOUBLE_EQ(requests[1].rate, 0.25);
}

TEST(MaxMin, WithheldCapacitySlowsEvenOne) {
  PerResource capacity = ones();
  capacity[0] = 0.25;
  std::vector<RateRequest> requests{{.share = {1.0}}};
  allocate_max_min(requests, capacity);
  EXPECT_DOUBLE_EQ(requests[0].rate, 0.25);
}

// The definition itself: the allocation is feasible, and every rate is at its cap or has a bottleneck, a full resource
// on which no other rate is larger relative to its weight (Bertsekas and Gallager, Data Networks, section 6.5.2).
TEST(MaxMin, EveryRateIsCappedOrHasABottleneck) {
  constexpr double kEps = 1e-9;
  std::mt19937_64 random(7);
  const auto uniform = [&random] { return std::generate_canonical<double, 53>(random); };
  for (int round = 0; round < 3000; ++round) {
    std::vector<RateRequest> requests(1 + random() % 12);
    for (RateRequest& request : requests) {
      for (std::size_t r = 0; r < kMaxResources; ++r) request.share[r] = random() % 2 == 0 ? 0.0 : uniform();
      request.weight = random() % 2 == 0 ? 1.0 : 0.1 + 3 * uniform();
    }
    PerResource capacity = ones();
    for (double& c : capacity) c = random() % 4 == 0 ? 0.1 + 0.9 * uniform() : 1.0;
    allocate_max_min(requests, capacity);
    PerResource used{};
    PerResource top{};
    for (const RateRequest& request : requests) {
      ASSERT_GT(request.rate, 0.0);
      ASSERT_LE(request.rate, 1.0);
      for (std::size_t r = 0; r < kMaxResources; ++r) {
        used[r] += request.share[r] * request.rate;
        if (request.share[r] > 0) top[r] = std::max(top[r], request.rate / request.weight);
      }
    }
    for (std::size_t r = 0; r < kMaxResources; ++r) ASSERT_LE(used[r], capacity[r] * (1 + kEps));
    for (const RateRequest& request : requests) {
      bool justified = request.rate == 1.0;
      for (std::size_t r = 0; r < kMaxResources; ++r) {
        justified |= request.share[r] > 0 && used[r] >= capacity[r] * (1 - kEps) &&
                     request.rate / request.weight >= top[r] * (1 - kEps);
      }
      ASSERT_TRUE(justified) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace retrosim
