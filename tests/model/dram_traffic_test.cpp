#include "model/dram_traffic.h"

#include <gtest/gtest.h>

namespace retrosim {
namespace {

constexpr std::int64_t kL2 = 50'000'000;  // keeps 30 MB

Op silu(std::int64_t rows) { return {.shape = SiluMulShape{.rows = rows, .intermediate_size = 10'000}}; }

// 40 MB read, 20 MB written: the 30 MB that L2 keeps are half of what was touched, so 10 MB stay dirty; the next one
// writes them back and leaves its own.
TEST(DramTraffic, AKernelLeavesDirtyBytesToTheNext) {
  StepGraph graph;
  graph.add(silu(1000));
  graph.add(silu(1000));
  const std::vector<DramTraffic> traffic = dram_traffic(graph, kL2);
  EXPECT_DOUBLE_EQ(traffic[0].read_bytes, 40e6);
  EXPECT_DOUBLE_EQ(traffic[0].write_bytes, 10e6);
  EXPECT_DOUBLE_EQ(traffic[1].read_bytes, 40e6) << "evicted by the reader before it gets there";
  EXPECT_DOUBLE_EQ(traffic[1].write_bytes, 20e6);
}

// 0.4 MB and 0.2 MB: all of it stays, and the next kernel finds what was written.
TEST(DramTraffic, SmallKernelsHandOnThroughL2) {
  StepGraph graph;
  graph.add(silu(10));
  graph.add(silu(5));
  const std::vector<DramTraffic> traffic = dram_traffic(graph, kL2);
  EXPECT_DOUBLE_EQ(traffic[0].write_bytes, 0);
  EXPECT_DOUBLE_EQ(traffic[1].read_bytes, 0);
}

// 256 x 4096 outputs of depth 4096: two row tiles touch 33.6 MB of weights each, 16 column tiles 2.1 MB of rows each,
// 2.1 MB are written: 102.8 MB touched, so 30 / 102.8 of the output stays dirty.
TEST(DramTraffic, AProductTouchesItsOperandsOncePerTile) {
  StepGraph graph;
  graph.add({.shape = MatmulShape{.m = 256, .n = 4096, .k = 4096}});
  const double touched = 2 * 33'554'432.0 + 16 * 2'097'152.0 + 2'097'152.0;
  const double kept = 2'097'152.0 * 30e6 / touched;
  const std::vector<DramTraffic> traffic = dram_traffic(graph, kL2);
  EXPECT_NEAR(traffic[0].write_bytes, 2'097'152.0 - kept, 1);
  EXPECT_DOUBLE_EQ(traffic[0].read_bytes, 33'554'432.0 + 2'097'152.0);
}

}  // namespace
}  // namespace retrosim
