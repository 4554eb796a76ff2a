#include "calibrate/latency_table_fit.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <utility>

#include "model/error.h"

namespace retrosim {
namespace {

constexpr double kPull = 1e-4;        // to a factor of 1
constexpr double kFirstOrder = 1e-2;  // of the smoothness: where samples say no slope along an axis there is none
constexpr double kHuber = 0.05;
constexpr int kReweightings = 2;

using Grids = std::vector<std::vector<LatencyTable::Axis>>;
/// A sample as a sparse row: (unknown, weight).
using Row = std::vector<std::pair<Eigen::Index, double>>;

std::size_t points_of(const std::vector<LatencyTable::Axis>& grid) {
  std::size_t points = 1;
  for (const LatencyTable::Axis& axis : grid) points *= axis.knots.size();
  return points;
}

void add_square(Eigen::MatrixXd& normal, const Row& row, double weight) {
  for (const auto& [i, a] : row) {
    for (const auto& [j, b] : row) normal(i, j) += weight * a * b;
  }
}

/// Adds the squared second differences along every axis of one grid, and a little of the first, whose unknowns begin at
/// `first`. Second differences alone leave the slope along an axis free where samples do not vary.
void add_roughness(Eigen::MatrixXd& penalty, const std::vector<LatencyTable::Axis>& grid, Eigen::Index first) {
  const auto points = static_cast<Eigen::Index>(points_of(grid));
  Eigen::Index stride = points;
  for (const LatencyTable::Axis& axis : grid) {
    const auto size = static_cast<Eigen::Index>(axis.knots.size());
    stride /= size;
    for (Eigen::Index p = 0; p < points; ++p) {
      const Eigen::Index place = p / stride % size;
      const Eigen::Index at = first + p;
      if (place + 1 < size) add_square(penalty, {{at, -1.0}, {at + stride, 1.0}}, kFirstOrder);
      if (place + 2 < size) {
        add_square(penalty, {{at, 1.0}, {at + stride, -2.0}, {at + 2 * stride, 1.0}}, 1.0);
      }
    }
  }
}

class Problem {
 public:
  Problem(const Grids& grids, const std::vector<TableSample>& samples, int sm_count) : samples_(samples) {
    std::vector<LatencyTable> empty;
    for (const auto& grid : grids) {
      firsts_.push_back(size_);
      size_ += static_cast<Eigen::Index>(points_of(grid));
      empty.emplace_back(grid, std::vector<double>(points_of(grid), 0.0));
    }
    penalty_ = Eigen::MatrixXd::Zero(size_, size_);
    for (std::size_t t = 0; t < grids.size(); ++t) add_roughness(penalty_, grids[t], firsts_[t]);
    for (const TableSample& sample : samples) {
      Row row;
      for (std::size_t t = 0; t < empty.size(); ++t) {
        const LatencyTable::Stencil around = empty[t].stencil(sample.op, sm_count);
        for (std::size_t i = 0; i < around.size; ++i) {
          row.emplace_back(firsts_[t] + static_cast<Eigen::Index>(around.point[i]), around.weight[i]);
        }
      }
      rows_.push_back(std::move(row));
    }
  }

  /// Log factors fitted to the samples outside `left_out` (-1: all).
  Eigen::VectorXd solve(double smoothness, int left_out) const {
    Eigen::VectorXd solution = Eigen::VectorXd::Zero(size_);
    std::vector<double> weights(samples_.size(), 1.0);
    for (int round = 0; round <= kReweightings; ++round) {
      Eigen::MatrixXd normal = smoothness * penalty_;
      normal.diagonal().array() += kPull;
      Eigen::VectorXd right = Eigen::VectorXd::Zero(size_);
      for (std::size_t i = 0; i < samples_.size(); ++i) {
        if (samples_[i].fold == left_out) continue;
        add_square(normal, rows_[i], weights[i]);
        for (const auto& [unknown, a] : rows_[i]) right[unknown] += weights[i] * a * samples_[i].log_ratio;
      }
      solution = normal.llt().solve(right);
      for (std::size_t i = 0; i < samples_.size(); ++i) {
        const double error = std::abs(residual(i, solution));
        weights[i] = error <= kHuber ? 1.0 : kHuber / error;
      }
      if (left_out >= 0) break;  // good enough to compare smoothnesses
    }
    return solution;
  }

  double residual(std::size_t sample, const Eigen::VectorXd& solution) const {
    double sum = samples_[sample].log_ratio;
    for (const auto& [unknown, a] : rows_[sample]) sum -= a * solution[unknown];
    return sum;
  }

  std::vector<double> part(const Eigen::VectorXd& solution, std::size_t table, std::size_t points) const {
    const double* first = solution.data() + firsts_[table];
    return {first, first + points};
  }

 private:
  const std::vector<TableSample>& samples_;
  std::vector<Eigen::Index> firsts_;
  Eigen::Index size_ = 0;
  Eigen::MatrixXd penalty_;
  std::vector<Row> rows_;
};

double left_out_error(const Problem& problem, const std::vector<TableSample>& samples, double smoothness, int folds) {
  double sum = 0;
  for (int fold = 0; fold < folds; ++fold) {
    const Eigen::VectorXd solution = problem.solve(smoothness, fold);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (samples[i].fold == fold) sum += std::abs(problem.residual(i, solution));
    }
  }
  return sum / static_cast<double>(samples.size());
}

}  // namespace

TableFit fit_latency_tables(const Grids& grids, const std::vector<TableSample>& samples, int sm_count,
                            const std::vector<double>& candidates, int folds) {
  if (samples.empty()) throw InputError("", "samples", "none", "measured operations to fit tables to");
  const Problem problem(grids, samples, sm_count);
  TableFit fit;
  for (const double candidate : candidates) {
    const double error = left_out_error(problem, samples, candidate, folds);
    if (fit.smoothness == 0 || error < fit.cross_validation) {
      fit.smoothness = candidate;
      fit.cross_validation = error;
    }
  }
  const Eigen::VectorXd solution = problem.solve(fit.smoothness, -1);
  for (std::size_t t = 0; t < grids.size(); ++t) {
    std::vector<double> factors = problem.part(solution, t, points_of(grids[t]));
    for (double& factor : factors) factor = std::round(factor * 1e5) / 1e5;
    fit.tables.emplace_back(grids[t], std::move(factors));
  }
  return fit;
}

LatencyTable::Axis axis_at(ShapeAxis axis, const std::vector<double>& values) {
  LatencyTable::Axis result{.axis = axis, .knots = {}};
  for (const double value : values) result.knots.push_back(std::log2(1 + value));
  return result;
}

}  // namespace retrosim
