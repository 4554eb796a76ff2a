// Live runs held against the simulator: errors per step, per operation and without matrix products, worst first.
#pragma once

#include <string>
#include <vector>

#include "calibrate/live/closed_loop.h"
#include "calibrate/live/live_prediction.h"

namespace retrosim {

/// Relative errors predicted / measured - 1.
struct ErrorSummary {
  std::int64_t rows = 0;
  double mape = 0;
  double median_abs_error = 0;
  double bias = 0;
  double p95_abs_error = 0;
  double worst_abs_error = 0;
};
ErrorSummary summarize(const std::vector<double>& errors);

struct LiveComparison {
  LiveResult result;
  LivePrediction predicted;
  double measured_us = 0;
  double error = 0;           // of the step
  double roofline_error = 0;  // of the naive roofline's
  double rest_us = 0;         // measured without products; 0: not measured
  double rest_error = 0;
};

/// A window's price over window 1 of the same configuration.
struct OverheadPoint {
  LiveConfig config;
  double measured_us = 0;  // of the step at window 1, beside it
  double measured_over_us = 0;
  double predicted_over_us = 0;
  double traffic_over = 0;  // HBM bytes of the step graph, relative to window 1
  double kv_over = 0;       // keys, values and summaries read, likewise
  double rows = 0;          // batch * window
  bool within = false;      // predicted within 15 % of the measured overhead, or 30 us
};

struct NamedErrors {
  std::string name;
  ErrorSummary errors;
};

struct LiveValidation {
  std::string profile;
  std::string gpu;
  std::vector<LiveComparison> rows;   // worst error first
  std::vector<LiveConfig> failed;     // with no result
  std::vector<std::string> failures;  // why, likewise
  ErrorSummary steps;                 // groups "grid.*"
  ErrorSummary roofline;
  ErrorSummary without_products;
  std::vector<NamedErrors> by_group;
  std::vector<NamedErrors> by_op;       // role of the operation
  std::vector<NamedErrors> by_window;   // of grid rows
  std::vector<NamedErrors> by_policy;   // of group "policies"
  std::vector<OverheadPoint> overhead;  // every pair, of all groups
  std::vector<ClosedLoop> closed_loop;  // real models against their own traces
  double overhead_within = 0;           // share of the grid's pairs
};

LiveValidation validate_live(const std::vector<LiveResult>& results, const GpuProfile& gpu);

}  // namespace retrosim
