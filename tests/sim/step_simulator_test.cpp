#include "sim/step_simulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace retrosim {
namespace {

constexpr double kUs = 1e-6;

TimePs us(double microseconds) { return ps_from_seconds(microseconds * kUs); }

// A price in microseconds.
Price price(double fixed_us, double body_us, double hbm_share = 0) {
  return {.fixed_s = fixed_us * kUs, .body_s = body_us * kUs, .hbm_share = hbm_share};
}

class Steps {
 public:
  StepGraph::Vertex add(Stream stream, const Price& p) {
    prices.push_back(p);
    return builder_.add(SampleShape{}, "op", -1, stream);
  }
  StepGraph::Vertex add_after(StepGraph::Vertex dependency, Stream stream, const Price& p) {
    prices.push_back(p);
    return builder_.add_after(dependency, SampleShape{}, "op", -1, stream);
  }
  void depend(StepGraph::Vertex from, StepGraph::Vertex to) { graph.depend(from, to); }

  StepGraph graph;
  std::vector<Price> prices;

 private:
  StepGraphBuilder builder_{graph};
};

// Everything that runs on one stream is run twice: directly and through the event queue.
class SingleStream : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Paths, SingleStream, testing::Bool(),
                         [](const auto& path) { return path.param ? "EventQueue" : "Direct"; });

TEST_P(SingleStream, AChainTakesItsLatenciesAndGaps) {
  // 10 launch + (2 + 3) + 1 gap + (4 + 0) + 1 gap + (0 + 7.5) = 28.5
  Steps steps;
  steps.add(Stream::compute, price(2, 3, 1.0));
  steps.add(Stream::compute, price(4, 0));
  steps.add(Stream::compute, price(0, 7.5, 0.4));
  StepSimulator simulator(steps.graph, 10 * kUs, 1 * kUs, GetParam());
  EXPECT_TRUE(simulator.single_stream());
  const StepSchedule& schedule = simulator.run(steps.prices);
  EXPECT_EQ(schedule.latency, us(28.5));
  EXPECT_EQ(schedule.ops[0].start, us(10));
  EXPECT_EQ(schedule.ops[0].end, us(15));
  EXPECT_EQ(schedule.ops[1].start, us(16));
  EXPECT_EQ(schedule.ops[1].end, us(20));
  EXPECT_EQ(schedule.ops[2].start, us(21));
  EXPECT_EQ(schedule.ops[2].end, us(28.5));
}

TEST_P(SingleStream, NothingTakesNoTime) {
  StepSimulator simulator(StepGraph{}, 10 * kUs, 1 * kUs, GetParam());
  EXPECT_EQ(simulator.run({}).latency, 0);
}

TEST_P(SingleStream, ASharePastOneByRoundingIsOne) {
  Steps steps;
  steps.add(Stream::compute, price(1, 2, 1.0 + 1e-15));
  StepSimulator simulator(steps.graph, 0, 0, GetParam());
  EXPECT_EQ(simulator.run(steps.prices).latency, us(3));
}

TEST_P(SingleStream, RefusesAWrongNumberOfPrices) {
  Steps steps;
  steps.add(Stream::compute, price(1, 2));
  StepSimulator simulator(steps.graph, 0, 0, GetParam());
  EXPECT_THROW(simulator.run({}), std::logic_error);
}

TEST(StepSimulator, BothPathsGiveTheSamePicoseconds) {
  std::mt19937_64 random(3);
  const auto uniform = [&random] { return std::generate_canonical<double, 53>(random); };
  for (int round = 0; round < 50; ++round) {
    Steps steps;
    for (int i = 0; i < 100; ++i) {
      Price p = price(random() % 4 == 0 ? 0 : 5 * uniform(), random() % 4 == 0 ? 0 : 40 * uniform(), uniform());
      p.tensor_share = uniform();
      steps.add(Stream::compute, p);
    }
    StepSimulator direct(steps.graph, 7.1234567891 * kUs, 0.7654321987 * kUs);
    StepSimulator queued(steps.graph, 7.1234567891 * kUs, 0.7654321987 * kUs, true);
    const StepSchedule& a = direct.run(steps.prices);
    const StepSchedule& b = queued.run(steps.prices);
    ASSERT_EQ(a.latency, b.latency);
    for (std::size_t i = 0; i < a.ops.size(); ++i) {
      ASSERT_EQ(a.ops[i].start, b.ops[i].start);
      ASSERT_EQ(a.ops[i].end, b.ops[i].end);
    }
  }
}

TEST(StepSimulator, TwoStreamsThatShareHbmSlowEachOtherDown) {
  // Each would take 100 us alone with all of HBM: side by side both take 200.
  Steps steps;
  steps.add(Stream::compute, price(0, 100, 1.0));
  steps.add(Stream::copy_in, price(0, 100, 1.0));
  StepSimulator simulator(steps.graph, 0, 0);
  EXPECT_FALSE(simulator.single_stream());
  const StepSchedule& schedule = simulator.run(steps.prices);
  EXPECT_EQ(schedule.ops[0].end, us(200));
  EXPECT_EQ(schedule.ops[1].end, us(200));
}

TEST_P(SingleStream, WithoutAGraphTheHostIssuesOneOperationAtATime) {
  // Issued at 8, 16 and 24; launch of the step at 10, gaps of 1. The first runs 10..15. The second is issued at 16, as
  // the GPU is free: 16..40. The third was issued at 24 and follows the second: 41..42.
  Steps steps;
  steps.add(Stream::compute, price(0, 5));
  steps.add(Stream::compute, price(0, 24));
  steps.add(Stream::compute, price(0, 1));
  StepSimulator simulator(steps.graph, 10 * kUs, 1 * kUs, GetParam(), 8 * kUs);
  const StepSchedule& schedule = simulator.run(steps.prices);
  EXPECT_EQ(schedule.ops[0].start, us(10));
  EXPECT_EQ(schedule.ops[1].start, us(16));
  EXPECT_EQ(schedule.ops[2].start, us(41));
  EXPECT_EQ(schedule.latency, us(42));
}

TEST(StepSimulator, AHostThatComputesIssuesNothing) {
  // The host issues op 0 at 5, works on its own operation from 12 (after op 0 ended at 11 and a gap of 1) to 32, and
  // issues op 2 at 37: it runs 37..38.
  Steps steps;
  const auto first = steps.add(Stream::compute, price(0, 6));
  steps.add_after(first, Stream::host, price(20, 0));
  steps.add(Stream::compute, price(0, 1));
  StepSimulator simulator(steps.graph, 0, 1 * kUs, false, 5 * kUs);
  const StepSchedule& schedule = simulator.run(steps.prices);
  EXPECT_EQ(schedule.ops[1].start, us(12));
  EXPECT_EQ(schedule.ops[1].end, us(32));
  EXPECT_EQ(schedule.ops[2].start, us(37));
  EXPECT_EQ(schedule.latency, us(38));
}

TEST(StepSimulator, FixedLatencyHoldsNoResource) {
  // The second waits 30 us before its body; until then the first runs at full speed (30 of 100 done). Then both at 1/2:
  // the second's 20 take 40, to 70, while the first does 20 more. Its last 50 run alone, to 120.
  Steps steps;
  steps.add(Stream::compute, price(0, 100, 1.0));
  steps.add(Stream::copy_in, price(30, 20, 1.0));
  StepSimulator simulator(steps.graph, 0, 0);
  const StepSchedule& schedule = simulator.run(steps.prices);
  EXPECT_EQ(schedule.ops[1].end, us(70));
  EXPECT_EQ(schedule.ops[0].end, us(120));
}

TEST(StepSimulator, ACopyHidesBehindCompute) {
  // Three kernels of 100 us with 1 us gaps: 302. The copy of 250 us takes 2 % of HBM, which the kernels leave free. The
  // last kernel waits for both: 302 + 1, and takes 10.
  Steps steps;
  steps.add(Stream::compute, price(5, 95, 0.98));
  Price copy = price(10, 240, 0.02);
  copy.pcie_h2d_share = 1.0;
  const auto copied = steps.add(Stream::copy_in, copy);
  steps.add(Stream::compute, price(5, 95, 0.98));
  steps.add(Stream::compute, price(5, 95, 0.98));
  steps.add_after(copied, Stream::compute, price(5, 5, 1.0));
  StepSimulator simulator(steps.graph, 0, 1 * kUs);
  const StepSchedule& schedule = simulator.run(steps.prices);
  EXPECT_EQ(schedule.ops[1].end, us(250));
  EXPECT_EQ(schedule.ops[4].start, us(303));
  EXPECT_EQ(schedule.latency, us(313));
}

TEST(StepSimulator, AnExposedCopyMakesComputeWait) {
  // The kernel ends at 20 + 50 = 70, the copy at 20 + 300 = 320; what needs it begins at 320 + 2 and takes 10.
  Steps steps;
  steps.add(Stream::compute, price(10, 40, 0.9));
  const auto copied = steps.add(Stream::copy_in, price(100, 200, 0.05));
  steps.add_after(copied, Stream::compute, price(10, 0));
  StepSimulator simulator(steps.graph, 20 * kUs, 2 * kUs);
  const StepSchedule& schedule = simulator.run(steps.prices);
  EXPECT_EQ(schedule.ops[0].end, us(70));
  EXPECT_EQ(schedule.ops[1].end, us(320));
  EXPECT_EQ(schedule.ops[2].start, us(322));
  EXPECT_EQ(schedule.latency, us(332));
}

TEST(StepSimulator, DependenciesCrossStreamsBothWays) {
  // compute a: 0-10. copy b after a: 12-32 (2 us gap). compute c after a: 12-17. host d after b and c: 34-37.
  Steps steps;
  const auto a = steps.add(Stream::compute, price(10, 0));
  const auto b = steps.add_after(a, Stream::copy_out, price(0, 20, 0.1));
  const auto c = steps.add(Stream::compute, price(5, 0));
  const auto d = steps.add_after(b, Stream::host, price(0, 3));
  steps.depend(c, d);
  StepSimulator simulator(steps.graph, 0, 2 * kUs);
  const StepSchedule& schedule = simulator.run(steps.prices);
  EXPECT_EQ(schedule.ops[b].start, us(12));
  EXPECT_EQ(schedule.ops[b].end, us(32));
  EXPECT_EQ(schedule.ops[c].end, us(17));
  EXPECT_EQ(schedule.ops[d].start, us(34));
  EXPECT_EQ(schedule.latency, us(37));
}

TEST(StepSimulator, OperationsOfAStreamStayInOrderWithoutAnEdge) {
  StepGraph graph;  // bare vertices: no edge says that the second follows the first
  graph.add({.shape = SampleShape{}, .stream = Stream::compute});
  graph.add({.shape = SampleShape{}, .stream = Stream::compute});
  graph.add({.shape = SampleShape{}, .stream = Stream::host});
  const std::vector<Price> prices{price(5, 5), price(5, 5), price(1, 0)};
  StepSimulator simulator(graph, 0, 1 * kUs);
  const StepSchedule& schedule = simulator.run(prices);
  EXPECT_EQ(schedule.ops[1].start, us(11));
  EXPECT_EQ(schedule.ops[2].start, us(0));
  EXPECT_EQ(schedule.latency, us(21));
}

// Random graphs on four streams, with an edge to every operation from the one before it on its stream and from random
// others.
struct RandomStep {
  Steps steps;
  std::vector<std::vector<std::size_t>> before;  // of each operation

  RandomStep(std::uint64_t seed, double max_share) {
    std::mt19937_64 random(seed);
    const auto uniform = [&random] { return std::generate_canonical<double, 53>(random); };
    std::vector<std::int64_t> last(kNumStreams, -1);
    for (std::size_t v = 0; v < 60; ++v) {
      const auto stream = static_cast<std::size_t>(random() % kNumStreams);
      Price p = price(random() % 5 == 0 ? 0 : 9 * uniform(), random() % 5 == 0 ? 0 : 30 * uniform());
      p.hbm_share = max_share * uniform();
      p.tensor_share = max_share * uniform();
      p.pcie_h2d_share = max_share * uniform();
      before.emplace_back();
      if (last[stream] >= 0) before.back().push_back(static_cast<std::size_t>(last[stream]));
      last[stream] = static_cast<std::int64_t>(v);
      steps.add(static_cast<Stream>(stream), p);
      for (int i = 0; v > 0 && i < 2; ++i) {
        const std::size_t other = random() % v;
        steps.depend(other, v);
        before.back().push_back(other);
      }
    }
  }
};

TEST(StepSimulator, WithoutContentionItIsTheLongestPath) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const RandomStep random(seed, 0.25);  // four streams at 1/4 never fill anything
    StepSimulator simulator(random.steps.graph, 3 * kUs, 1 * kUs);
    const StepSchedule& schedule = simulator.run(random.steps.prices);
    std::vector<TimePs> end;
    for (std::size_t v = 0; v < random.before.size(); ++v) {
      TimePs start = us(3);
      for (const std::size_t b : random.before[v]) start = std::max(start, end[b] + us(1));
      end.push_back(start + ps_from_seconds(random.steps.prices[v].latency_s()));
      ASSERT_EQ(schedule.ops[v].start, start);
      ASSERT_EQ(schedule.ops[v].end, end.back());
    }
    ASSERT_EQ(schedule.latency, *std::max_element(end.begin(), end.end()));
  }
}

TEST(StepSimulator, ContentionDelaysButNeverBeyondASerialStep) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const RandomStep random(seed, 1.0);
    StepSimulator simulator(random.steps.graph, 3 * kUs, 1 * kUs);
    const StepSchedule first = simulator.run(random.steps.prices);
    const StepSchedule& second = simulator.run(random.steps.prices);
    TimePs serial = us(3);
    double hbm_ps = 0;
    for (std::size_t v = 0; v < random.before.size(); ++v) {
      const Price& p = random.steps.prices[v];
      for (const std::size_t b : random.before[v]) ASSERT_GE(first.ops[v].start, first.ops[b].end + us(1));
      ASSERT_GE(first.ops[v].end - first.ops[v].start, ps_from_seconds(p.latency_s()));
      ASSERT_EQ(first.ops[v].end, second.ops[v].end);  // the same bytes out
      serial += ps_from_seconds(p.latency_s()) + us(1);
      hbm_ps += p.hbm_share * p.body_s * kPsPerSecond;
    }
    ASSERT_EQ(first.latency, second.latency);
    ASSERT_GE(static_cast<double>(first.latency), hbm_ps - 100);  // no faster than HBM alone allows
    ASSERT_LE(first.latency, serial + 100);
  }
}

}  // namespace
}  // namespace retrosim
