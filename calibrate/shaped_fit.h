// A roofline with tables on top, fitted to samples whose operations are known.
#pragma once

#include <string>
#include <vector>

#include "calibrate/roofline_fit.h"
#include "model/latency_table.h"

namespace retrosim {

/// A sample of one operation.
struct ShapedSample {
  Op op;
  LatencySample sample;
  std::string group;  // samples of one group are left out together when the smoothness of the tables is chosen
};

/// fit_roofline, then fit_latency_tables on what it leaves of the samples that are not held out (their offsets taken
/// off). No grids: the roofline alone. hold_out and by_regime are those of both together. Throws what these two throw.
KindProfile fit_shaped(const FitPlan& plan, const std::vector<ShapedSample>& samples,
                       const std::vector<std::vector<LatencyTable::Axis>>& grids);

/// Seconds predicted for a sample with the tables of `kind`, its offset included.
double predicted_s(const FitPlan& plan, const KindProfile& kind, const ShapedSample& sample);

}  // namespace retrosim
