// Fits the parameters of one operation kind's calibrated roofline (model/pricing.h) to measured latencies.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "model/gpu_profile.h"
#include "model/pricing.h"

namespace retrosim {

/// One measured latency and the work it did.
struct LatencySample {
  OpWork work;
  double measured_s = 0;
  double offset_s = 0;  // part of measured_s that other kernels and launch gaps account for, known beforehand
  std::string regime;   // for the table of errors by regime
  std::string label;    // the shape, for residual tables
  bool held_out = false;
};

/// A parameter of KindProfile; its index in the arrays below.
enum class Parameter : std::uint8_t {
  fixed_latency_s,
  hbm_efficiency,
  compute_efficiency,
  half_bandwidth_bytes,
  memory_half_units,
  compute_half_units,
  unit_latency_s,
  serial_token_s,
};
inline constexpr int kNumParameters = 8;

/// What is fitted, from where it starts, and the machine it is fitted on.
struct FitPlan {
  std::array<double, kNumParameters> start{};  // also the value of parameters that are not fitted
  std::array<bool, kNumParameters> fitted{};
  double hbm_bandwidth_bytes_per_s = 0;
  double peak_flops_per_s = 0;
  double l2_bandwidth_bytes_per_s = 0;
  int sm_count = 1;
  double huber = 0.1;  // relative error beyond which a sample pulls with constant force
};

/// Minimises sum of Huber(log(predicted / measured)) over the samples that are not held out, by Gauss-Newton with
/// Levenberg's damping on transformed parameters (log of latencies, bytes and units; logit of efficiencies), so that
/// every iterate is physical. Intervals: 95 %, from the sandwich covariance of the transformed parameters. Also fills
/// domain, samples, hold_out, by_regime and sampled_shapes. Throws InputError with fewer samples than fitted
/// parameters.
KindProfile fit_roofline(const FitPlan& plan, const std::vector<LatencySample>& samples);

/// Seconds predicted for a sample, its offset included.
double predicted_s(const FitPlan& plan, const KindProfile& kind, const LatencySample& sample);

/// Errors of `predicted` against `measured` (equal lengths; zero samples give zeros).
HoldOut error_summary(const std::vector<double>& predicted, const std::vector<double>& measured);

/// Deterministic fold in [0, folds) of a sample's label.
int fold_of(const std::string& label, int folds);

}  // namespace retrosim
