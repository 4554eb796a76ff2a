#include "calibrate/latency_table_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "calibrate/roofline_fit.h"

namespace retrosim {
namespace {

Op product(std::int64_t m, std::int64_t n) { return {.shape = MatmulShape{.m = m, .n = n, .k = 4096}, .name = "x"}; }

std::vector<std::vector<LatencyTable::Axis>> grid() {
  return {{axis_at(ShapeAxis::rows, {1, 4, 16, 64}), axis_at(ShapeAxis::columns, {1024, 4096, 16384})}};
}

TEST(LatencyTable, IsMultilinearInTheLogarithmsAndConstantBeyond) {
  // One axis with knots at log2(1 + 1) = 1 and log2(1 + 7) = 3, factors 0 and 1: three rows lie at log2(4) = 2, half
  // way.
  const LatencyTable table({axis_at(ShapeAxis::rows, {1, 7})}, {0.0, 1.0});
  EXPECT_DOUBLE_EQ(table.log_factor(product(3, 64), 132), 0.5);
  EXPECT_DOUBLE_EQ(table.log_factor(product(1000, 64), 132), 1.0);
  // Two axes: at (2, 2) of knots (1, 3) x (1, 3) the mean of the four corners, (0 + 1 + 2 + 5) / 4 = 2.
  const LatencyTable plane({axis_at(ShapeAxis::rows, {1, 7}), axis_at(ShapeAxis::columns, {1, 7})}, {0, 1, 2, 5});
  EXPECT_DOUBLE_EQ(plane.log_factor(product(3, 3), 132), 2.0);
}

TEST(LatencyTable, RefusesKnotsThatDoNotAscendAndMissingFactors) {
  EXPECT_THROW(LatencyTable({{.axis = ShapeAxis::rows, .knots = {2, 1}}}, {0, 0}), std::logic_error);
  EXPECT_THROW(LatencyTable({{.axis = ShapeAxis::rows, .knots = {1, 2}}}, {0}), std::logic_error);
  EXPECT_THROW(LatencyTable({}, {}), std::logic_error);
}

// Known factors and 2 % noise: the fit finds them, and errors at shapes that it has not seen stay near the noise.
TEST(LatencyTableFit, RecoversAKnownTableFromNoisySamples) {
  const auto truth_of = [](const Op& op) {
    return 0.1 * shape_coordinate(op, ShapeAxis::rows, 132) - 0.02 * shape_coordinate(op, ShapeAxis::columns, 132);
  };
  std::mt19937 random(3);
  std::normal_distribution<double> noise(0, 0.02);
  std::uniform_real_distribution<double> log_rows(0, 6);
  std::uniform_real_distribution<double> log_columns(10, 14);
  std::vector<TableSample> samples;
  for (int i = 0; i < 400; ++i) {
    const Op op = product(std::llround(std::exp2(log_rows(random))), std::llround(std::exp2(log_columns(random))));
    samples.push_back({.op = op, .log_ratio = truth_of(op) + noise(random), .fold = i % 4});
  }
  const TableFit fit = fit_latency_tables(grid(), samples, 132, {0.01, 0.1, 1, 10}, 4);
  ASSERT_EQ(fit.tables.size(), 1U);
  // The mean absolute value of the noise alone is 0.02 * sqrt(2 / pi) = 0.016.
  EXPECT_NEAR(fit.cross_validation, 0.016, 0.003);
  for (const Op& op : {product(2, 2048), product(8, 8192), product(40, 12000)}) {
    EXPECT_NEAR(fit.tables[0].log_factor(op, 132), truth_of(op), 0.01);
  }
}

TEST(LatencyTableFit, PointsWithoutSamplesContinueTheirNeighbours) {
  std::vector<TableSample> samples;
  for (int i = 0; i < 40; ++i) samples.push_back({.op = product(1 + i % 16, 2048), .log_ratio = 0.3, .fold = i % 2});
  const TableFit fit = fit_latency_tables(grid(), samples, 132, {0.1}, 2);
  EXPECT_NEAR(fit.tables[0].log_factor(product(64, 16384), 132), 0.3, 0.05);
}

}  // namespace
}  // namespace retrosim
