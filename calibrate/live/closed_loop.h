// The loop from a live run to its own trace, to the simulation of that trace, and back to the live run.
#pragma once

#include <vector>

#include "calibrate/live/live_result.h"
#include "model/gpu_profile.h"

namespace retrosim {

/// One run of a real model against the simulation of the trace that it recorded. Steps before the window is full are
/// left out, as the replay warms up with them.
struct ClosedLoop {
  LiveConfig config;
  std::string trace;
  std::int64_t steps = 0;
  double measured_us = 0;  // mean over the steps
  double predicted_us = 0;
  double mape = 0;                   // over the steps
  std::int64_t unseen_measured = 0;  // sum of |U_s| over layers and steps
  std::int64_t unseen_predicted = 0;
  bool same_unseen = false;  // in every step
};

/// `folder` is where the result's trace lies. Throws InputError for a trace that does not fit the run exactly.
ClosedLoop compare_with_trace(const LiveResult& result, const std::filesystem::path& folder, const GpuProfile& gpu);

}  // namespace retrosim
