#include "reports/calibration_files.h"

#include <algorithm>
#include <cmath>

#include "calibrate/roofline_fit.h"
#include "reports/format.h"
#include "reports/output_file.h"
#include "reports/table.h"

namespace retrosim {
namespace {

Json fitted_json(const Fitted& fitted) { return {{"value", fitted.value}, {"low", fitted.low}, {"high", fitted.high}}; }

Json errors_json(const std::vector<double>& predicted, const std::vector<double>& measured) {
  const HoldOut errors = error_summary(predicted, measured);
  double worst = 0;
  for (std::size_t i = 0; i < predicted.size(); ++i) worst = std::max(worst, std::abs(predicted[i] / measured[i] - 1));
  return {{"rows", errors.samples},
          {"mape", errors.mape},
          {"median_abs_error", errors.median_abs_error},
          {"p95_abs_error", errors.p95_abs_error},
          {"bias", errors.bias},
          {"worst_abs_error", worst}};
}

}  // namespace

void CalibrationFiles::require_writable() const {
  retrosim::require_writable(profile, "--out");
  if (!hold_out.empty()) retrosim::require_writable(hold_out, "--hold-out");
  if (!report.empty()) retrosim::require_writable(report, "--report");
}

void CalibrationFiles::write(const PublishedFit& fit) const {
  write_output_file(profile, to_json_text(fit.profile));
  if (!hold_out.empty()) write_output_file(hold_out, hold_out_csv(fit));
  if (!report.empty()) write_output_file(report, fit_report_markdown(fit));
}

Json calibration_json(const PublishedFit& fit) {
  Json kinds = Json::object();
  for (const auto& [name, kind] : fit.profile.kinds) {
    kinds[name] = {{"measured", kind.measured},
                   {"samples", kind.samples},
                   {"fixed_latency_s", fitted_json(kind.fixed_latency_s)},
                   {"hbm_efficiency", fitted_json(kind.hbm_efficiency)},
                   {"compute_efficiency", fitted_json(kind.compute_efficiency)},
                   {"hold_out",
                    {{"samples", kind.hold_out.samples},
                     {"mape", kind.hold_out.mape},
                     {"median_abs_error", kind.hold_out.median_abs_error},
                     {"p95_abs_error", kind.hold_out.p95_abs_error},
                     {"bias", kind.hold_out.bias}}},
                   {"source", kind.source}};
  }
  return {{"schema", "retrosim.calibrate/1"},
          {"profile", fit.profile.name},
          {"gpu", fit.profile.spec.name},
          {"provenance", fit.profile.provenance},
          {"kinds", std::move(kinds)}};
}

Json calibration_fit_json(const CalibrationFit& fit) {
  Json json = calibration_json(fit.ops);
  std::vector<double> predicted;
  std::vector<double> naive;
  std::vector<double> measured;
  for (const FitResidual& residual : fit.ops.residuals) {
    if (!residual.held_out) continue;
    predicted.push_back(residual.predicted_us);
    naive.push_back(residual.naive_us);
    measured.push_back(residual.measured_us);
  }
  json["ops"] = {{"held_out", errors_json(predicted, measured)}, {"naive_roofline", errors_json(naive, measured)}};
  for (const bool held_out : {true, false}) {
    std::vector<double> with_overlap;
    std::vector<double> sums;
    std::vector<double> steps;
    for (const StepResidual& step : fit.steps) {
      if (step.held_out != held_out) continue;
      with_overlap.push_back(step.predicted_us);
      sums.push_back(step.sum_us);
      steps.push_back(step.measured_us);
    }
    json["steps"][held_out ? "held_out" : "fitted"] = {{"predicted", errors_json(with_overlap, steps)},
                                                       {"sum_of_chains", errors_json(sums, steps)}};
  }
  Json overlaps = Json::object();
  for (const auto& [key, kind] : fit.ops.profile.kinds) {
    if (kind.step_overlap_s != 0) {
      overlaps[key] = {{"few_rows", kind.step_overlap_s}, {"many_rows", kind.many_rows_step_overlap_s}};
    }
  }
  json["step_overlap_s"] = std::move(overlaps);
  return json;
}

std::string calibration_text(const PublishedFit& fit) {
  Table table({"operation kind", "from", "samples", "held out", "median error", "mean error", "bias"}, 2);
  for (const auto& [name, kind] : fit.profile.kinds) {
    const bool held_out = kind.hold_out.samples > 0;
    table.add({name, kind.measured ? "measured" : "borrowed", std::to_string(kind.samples),
               std::to_string(kind.hold_out.samples), held_out ? fixed(kind.hold_out.median_abs_error, 3) : "",
               held_out ? fixed(kind.hold_out.mape, 3) : "", held_out ? fixed(kind.hold_out.bias, 3) : ""});
  }
  return fit.profile.name + ": " + fit.profile.provenance + "\n\n" + table.to_text() +
         "\nerrors are fractions, on samples that the fit did not see\n";
}

}  // namespace retrosim
