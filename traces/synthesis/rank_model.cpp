#include "traces/synthesis/rank_model.h"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

namespace retrosim {
namespace {

constexpr float kLeastLogMass = -16.0F;  // e^-16 = 1.1e-7: masses that the trace stores as nothing

}  // namespace

double normal_quantile(double probability) {
  constexpr std::array<double, 6> a = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                                       1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr std::array<double, 5> b = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02,
                                       6.680131188771972e+01, -1.328068155288572e+01};
  constexpr std::array<double, 6> c = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                                       -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  constexpr std::array<double, 4> d = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                                       3.754408661907416e+00};
  constexpr double low = 0.02425;
  const auto tail = [&](double p) {
    const double q = std::sqrt(-2 * std::log(p));
    return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
           ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
  };
  if (probability < low) return tail(probability);
  if (probability > 1 - low) return -tail(1 - probability);
  const double q = probability - 0.5;
  const double r = q * q;
  return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
         (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

RankModel::RankModel(const RecordedList& list)
    : num_steps_(list.num_steps), bulk_(list.num_pages(0) - kRecentPages), rows_(bulk_ + kRecentPages) {
  if (num_steps_ < 2 || bulk_ < kRecentPages) throw std::invalid_argument("too few steps or pages to fit a model to");
  Eigen::MatrixXf x(2 * rows_, num_steps_);
  std::vector<float> score;
  for (std::int64_t t = 0; t < num_steps_; ++t) {
    const std::int64_t pages = list.num_pages(t);
    if (static_cast<std::int64_t>(score.size()) != pages) {
      score.resize(static_cast<std::size_t>(pages));
      for (std::int64_t rank = 0; rank < pages; ++rank) {
        score[static_cast<std::size_t>(rank)] =
            static_cast<float>(normal_quantile((static_cast<double>(pages - rank) - 0.5) / static_cast<double>(pages)));
      }
    }
    for (std::int64_t row = 0; row < rows_; ++row) {
      const std::int64_t page = row < bulk_ ? row : pages - 1 - (row - bulk_);
      x(row, t) = score[list.rank_of(t, page)];
      x(rows_ + row, t) = std::max(std::log(list.mass_of(t, page)), kLeastLogMass);
    }
  }
  const Eigen::VectorXf affinity = x.rowwise().mean();
  x.colwise() -= affinity;
  const auto deviation = [&](std::int64_t begin) {
    const auto cells = static_cast<float>(rows_ * num_steps_);
    return std::max(std::sqrt(x.middleRows(begin, rows_).squaredNorm() / cells), 1e-6F);
  };
  const float of_z = deviation(0);
  const float of_y = deviation(rows_);
  x.topRows(rows_) /= of_z;
  x.bottomRows(rows_) /= of_y;

  // Principal components through the steps' Gram matrix: there are fewer steps than rows, or few enough.
  const Eigen::MatrixXd gram = (x.transpose() * x).cast<double>();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(gram);
  const std::int64_t factors = factors_for(num_steps_);
  const Eigen::MatrixXf factor = solver.eigenvectors().rightCols(factors).cast<float>();  // [steps][factors]
  const double total = gram.trace();
  factor_share_ = total > 0 ? solver.eigenvalues().tail(factors).sum() / total : 1.0;
  Eigen::MatrixXf loading = x * factor;  // [2 * rows][factors]
  x -= loading * factor.transpose();
  for (Eigen::MatrixXf* scaled : {&loading, &x}) {
    scaled->topRows(rows_) *= of_z;
    scaled->bottomRows(rows_) *= of_y;
  }
  affinity_.assign(affinity.data(), affinity.data() + affinity.size());
  loading_.assign(loading.data(), loading.data() + loading.size());
  residual_.assign(x.data(), x.data() + x.size());
  factor_.resize(static_cast<std::size_t>(num_steps_ * factors));
  for (std::int64_t t = 0; t < num_steps_; ++t) {
    for (std::int64_t f = 0; f < factors; ++f) factor_[static_cast<std::size_t>(t * factors + f)] = factor(t, f);
  }
}

void RankModel::rows(std::int64_t factor_step, std::int64_t residual_step, std::vector<float>& z,
                     std::vector<float>& y) const {
  const auto rows = static_cast<std::size_t>(rows_);
  const auto factors = factor_.size() / static_cast<std::size_t>(num_steps_);
  const float* residual = residual_.data() + static_cast<std::size_t>(residual_step) * 2 * rows;
  z.resize(rows);
  y.resize(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    z[i] = affinity_[i] + residual[i];
    y[i] = affinity_[rows + i] + residual[rows + i];
  }
  for (std::size_t f = 0; f < factors; ++f) {
    const float value = factor_[static_cast<std::size_t>(factor_step) * factors + f];
    const float* loading = loading_.data() + f * 2 * rows;
    for (std::size_t i = 0; i < rows; ++i) {
      z[i] += loading[i] * value;
      y[i] += loading[rows + i] * value;
    }
  }
}

}  // namespace retrosim
