#include "calibrate/roofline_fit.h"

#include <xxhash.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <map>

#include "model/error.h"

namespace retrosim {
namespace {

constexpr Fitted KindProfile::*kMembers[kNumParameters] = {
    &KindProfile::fixed_latency_s,      &KindProfile::hbm_efficiency,    &KindProfile::compute_efficiency,
    &KindProfile::half_bandwidth_bytes, &KindProfile::memory_half_units, &KindProfile::compute_half_units,
    &KindProfile::unit_latency_s,       &KindProfile::serial_token_s};

bool is_efficiency(int parameter) { return parameter == 1 || parameter == 2; }

double to_free(int parameter, double value) {
  return is_efficiency(parameter) ? std::log(value / (1 - value)) : std::log(value);
}

double from_free(int parameter, double free) {
  return is_efficiency(parameter) ? 1 / (1 + std::exp(-free)) : std::exp(free);
}

class Problem {
 public:
  Problem(const FitPlan& plan, const std::vector<LatencySample>& samples) : plan_(plan), samples_(samples) {
    for (int p = 0; p < kNumParameters; ++p) {
      if (plan.fitted[static_cast<std::size_t>(p)]) free_.push_back(p);
    }
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (!samples[i].held_out) used_.push_back(i);
    }
  }

  Eigen::Index rows() const { return static_cast<Eigen::Index>(used_.size()); }
  Eigen::Index columns() const { return static_cast<Eigen::Index>(free_.size()); }
  int parameter(Eigen::Index column) const { return free_[static_cast<std::size_t>(column)]; }

  Eigen::VectorXd start() const {
    Eigen::VectorXd theta(columns());
    for (Eigen::Index c = 0; c < columns(); ++c) {
      theta[c] = to_free(parameter(c), plan_.start[static_cast<std::size_t>(parameter(c))]);
    }
    return theta;
  }

  KindProfile profile(const Eigen::VectorXd& theta) const {
    KindProfile kind;
    for (int p = 0; p < kNumParameters; ++p) {
      const double value = plan_.start[static_cast<std::size_t>(p)];
      kind.*kMembers[p] = {value, value, value};
    }
    for (Eigen::Index c = 0; c < columns(); ++c) {
      const double value = from_free(parameter(c), theta[c]);
      kind.*kMembers[parameter(c)] = {value, value, value};
    }
    return kind;
  }

  /// log(predicted / measured) of every sample used.
  Eigen::VectorXd residuals(const Eigen::VectorXd& theta) const {
    const KindProfile kind = profile(theta);
    Eigen::VectorXd result(rows());
    for (Eigen::Index i = 0; i < rows(); ++i) {
      const LatencySample& sample = samples_[used_[static_cast<std::size_t>(i)]];
      result[i] = std::log(predicted_s(plan_, kind, sample) / sample.measured_s);
    }
    return result;
  }

  Eigen::MatrixXd jacobian(const Eigen::VectorXd& theta) const {
    constexpr double kStep = 1e-5;
    Eigen::MatrixXd result(rows(), columns());
    for (Eigen::Index c = 0; c < columns(); ++c) {
      Eigen::VectorXd up = theta;
      Eigen::VectorXd down = theta;
      up[c] += kStep;
      down[c] -= kStep;
      result.col(c) = (residuals(up) - residuals(down)) / (2 * kStep);
    }
    return result;
  }

  double cost(const Eigen::VectorXd& r) const {
    double sum = 0;
    for (const double x : r) {
      const double a = std::abs(x);
      sum += a <= plan_.huber ? 0.5 * a * a : plan_.huber * (a - 0.5 * plan_.huber);
    }
    return sum;
  }

  Eigen::VectorXd weights(const Eigen::VectorXd& r) const {
    return r.unaryExpr([&](double x) { return std::abs(x) <= plan_.huber ? 1.0 : plan_.huber / std::abs(x); });
  }

 private:
  const FitPlan& plan_;
  const std::vector<LatencySample>& samples_;
  std::vector<int> free_;
  std::vector<std::size_t> used_;
};

Eigen::VectorXd minimise(const Problem& problem) {
  Eigen::VectorXd theta = problem.start();
  Eigen::VectorXd r = problem.residuals(theta);
  double cost = problem.cost(r);
  double damping = 1e-3;
  for (int iteration = 0; iteration < 200; ++iteration) {
    const Eigen::MatrixXd j = problem.jacobian(theta);
    const Eigen::VectorXd w = problem.weights(r);
    const Eigen::MatrixXd normal = j.transpose() * w.asDiagonal() * j;
    const Eigen::VectorXd gradient = j.transpose() * w.asDiagonal() * r;
    bool improved = false;
    double gain = 0;
    for (int attempt = 0; attempt < 20 && !improved; ++attempt) {
      Eigen::MatrixXd damped = normal;
      damped.diagonal() += damping * normal.diagonal() + Eigen::VectorXd::Constant(normal.rows(), 1e-12);
      Eigen::VectorXd step = -damped.ldlt().solve(gradient);
      step = step.cwiseMax(-2.0).cwiseMin(2.0);  // at most a factor of e^2 per iteration
      const Eigen::VectorXd next = theta + step;
      const Eigen::VectorXd next_r = problem.residuals(next);
      const double next_cost = problem.cost(next_r);
      improved = next_cost < cost;
      if (improved) {
        gain = cost - next_cost;
        theta = next;
        r = next_r;
        cost = next_cost;
        damping = std::max(damping / 4, 1e-9);
      } else {
        damping *= 4;
      }
    }
    if (!improved || gain < 1e-10 * cost) break;
  }
  return theta;
}

/// Huber-White: (J'WJ)^-1 (J'W r r' W J) (J'WJ)^-1, correct when the noise differs between samples.
void set_intervals(const Problem& problem, const Eigen::VectorXd& theta, KindProfile& kind) {
  const Eigen::VectorXd r = problem.residuals(theta);
  const Eigen::MatrixXd j = problem.jacobian(theta);
  const Eigen::VectorXd w = problem.weights(r);
  Eigen::MatrixXd normal = j.transpose() * w.asDiagonal() * j;
  normal.diagonal().array() += 1e-12;
  const Eigen::MatrixXd inverse = normal.ldlt().solve(Eigen::MatrixXd::Identity(normal.rows(), normal.cols()));
  const Eigen::MatrixXd scores = (w.cwiseProduct(r)).asDiagonal() * j;
  const double correction = static_cast<double>(problem.rows()) /
                            static_cast<double>(std::max<Eigen::Index>(1, problem.rows() - problem.columns()));
  const Eigen::MatrixXd covariance = correction * (inverse * (scores.transpose() * scores) * inverse);
  for (Eigen::Index c = 0; c < problem.columns(); ++c) {
    const double half = std::min(1.96 * std::sqrt(std::max(0.0, covariance(c, c))), 20.0);
    Fitted& fitted = kind.*kMembers[problem.parameter(c)];
    fitted.low = from_free(problem.parameter(c), theta[c] - half);
    fitted.high = from_free(problem.parameter(c), theta[c] + half);
  }
}

void describe_samples(const FitPlan& plan, const std::vector<LatencySample>& samples, KindProfile& kind) {
  std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> regimes;
  std::vector<double> predicted;
  std::vector<double> measured;
  Domain& domain = kind.domain;
  for (const LatencySample& sample : samples) {
    const double bytes = sample.work.hbm_bytes + sample.work.l2_bytes;
    kind.sampled_shapes.push_back({bytes, sample.work.flops, sample.work.units});
    if (sample.held_out) {
      predicted.push_back(predicted_s(plan, kind, sample));
      measured.push_back(sample.measured_s);
      regimes[sample.regime].first.push_back(predicted.back());
      regimes[sample.regime].second.push_back(measured.back());
      continue;
    }
    domain.min_bytes = kind.samples == 0 ? bytes : std::min(domain.min_bytes, bytes);
    domain.max_bytes = std::max(domain.max_bytes, bytes);
    domain.min_flops = kind.samples == 0 ? sample.work.flops : std::min(domain.min_flops, sample.work.flops);
    domain.max_flops = std::max(domain.max_flops, sample.work.flops);
    ++kind.samples;
  }
  kind.hold_out = error_summary(predicted, measured);
  for (const auto& [regime, values] : regimes) {
    kind.by_regime.push_back({regime, error_summary(values.first, values.second)});
  }
  const auto key = [](const SampledShape& s) { return std::array{s.bytes, s.flops, s.units}; };
  std::ranges::sort(kind.sampled_shapes, {}, key);
  const auto same = [&key](const SampledShape& a, const SampledShape& b) { return key(a) == key(b); };
  kind.sampled_shapes.erase(std::unique(kind.sampled_shapes.begin(), kind.sampled_shapes.end(), same),
                            kind.sampled_shapes.end());
}

}  // namespace

double predicted_s(const FitPlan& plan, const KindProfile& kind, const LatencySample& sample) {
  GpuSpec spec;
  spec.hbm_bandwidth_bytes_per_s = plan.hbm_bandwidth_bytes_per_s;
  spec.sm_count = plan.sm_count;
  return sample.offset_s +
         make_roofline(kind, spec, plan.peak_flops_per_s, plan.l2_bandwidth_bytes_per_s).latency_s(sample.work);
}

KindProfile fit_roofline(const FitPlan& plan, const std::vector<LatencySample>& samples) {
  const Problem problem(plan, samples);
  if (problem.rows() <= problem.columns()) {
    throw InputError("", "samples", std::to_string(problem.rows()),
                     "more samples than the " + std::to_string(problem.columns()) + " fitted parameters");
  }
  const Eigen::VectorXd theta = minimise(problem);
  KindProfile kind = problem.profile(theta);
  set_intervals(problem, theta, kind);
  describe_samples(plan, samples, kind);
  kind.measured = true;
  return kind;
}

HoldOut error_summary(const std::vector<double>& predicted, const std::vector<double>& measured) {
  HoldOut result;
  result.samples = static_cast<std::int64_t>(predicted.size());
  if (predicted.empty()) return result;
  std::vector<double> errors;
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    const double relative = predicted[i] / measured[i] - 1;
    errors.push_back(std::abs(relative));
    result.mape += std::abs(relative);
    result.bias += relative;
  }
  const auto count = static_cast<double>(errors.size());
  result.mape /= count;
  result.bias /= count;
  std::ranges::sort(errors);
  result.median_abs_error = errors[errors.size() / 2];
  result.p95_abs_error = errors[std::min(errors.size() - 1, static_cast<std::size_t>(0.95 * count))];
  return result;
}

int fold_of(const std::string& label, int folds) {
  return static_cast<int>(XXH3_64bits(label.data(), label.size()) % static_cast<std::uint64_t>(folds));
}

}  // namespace retrosim
