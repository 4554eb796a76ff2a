// The simulator's answer to what a live run measured.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "calibrate/live/live_result.h"
#include "model/gpu_profile.h"

namespace retrosim {

/// Microseconds, but for the names.
struct LivePrediction {
  double step_us = 0;
  double without_products_us = 0;              // the same schedule without matrix products; 0 with several streams
  double roofline_us = 0;                      // sum over operations of max(bytes / datasheet bandwidth, FLOPs / peak)
  std::map<std::string, double> op_us;         // by role, mean per launch, with the gap to the launch after it
  std::map<std::string, std::string> op_kind;  // by role
  double kv_traffic_share = 0;
  double hbm_bytes = 0;
};

/// Simulates the run's configuration at its mean context with the pages that it counted. Steps of a policy that reuses
/// selections are averaged as they were run. Throws InputError for a result that has no steps or demand.
LivePrediction predict(const LiveResult& result, const GpuProfile& gpu);

/// The live step that is compared with it: the median; of a policy that reuses its selections the mean of the medians
/// of both kinds of steps, weighted by how often each comes.
double measured_step_us(const LiveResult& result);

}  // namespace retrosim
