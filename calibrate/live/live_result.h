// What one live run measured, as one line of JSON: the raw data of every comparison with the simulator.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "calibrate/live/live_config.h"

namespace retrosim {

/// One operation of the step, by its role: the time of a chain of its launches over all layers, per launch.
struct LiveOpTime {
  std::string name;           // e.g. "qkv_proj"
  std::int64_t launches = 0;  // in a step
  double latency_us = 0;      // median of the chain's replays, per launch
};

/// JSON schema retrosim.live/1, one object per line.
struct LiveResult {
  LiveConfig config;
  std::string gpu;  // device name
  int sm_count = 0;
  std::int64_t first_context = 0;            // tokens at the first timed step; each step adds one
  std::vector<double> step_us;               // every timed step
  std::vector<double> without_products_us;   // steps without their matrix products; empty: not measured
  std::vector<LiveOpTime> ops;               // empty: not measured
  std::vector<LayerDemand> layers;           // [layers] of a step at the end: what attention loaded and found unseen
  std::vector<std::int64_t> unseen_by_step;  // sum of |U_s| over layers, of every timed step; empty: not counted
  double overlap = -1;                       // share of the selected pages that the step before selected too; -1: none
  std::string trace;                         // file that drove the selection, or that the run recorded
  std::string error;                         // why it did not run; else empty

  /// Tokens at the middle of the timed steps.
  std::int64_t mean_context() const { return first_context + static_cast<std::int64_t>(step_us.size()) / 2; }
};

std::string to_json_line(const LiveResult& result);
/// Throws InputError naming `origin`.
LiveResult parse_live_result(const std::string& line, const std::string& origin);
/// All whole lines of a file. Throws InputError naming file and line.
std::vector<LiveResult> read_live_results(const std::filesystem::path& file);

/// The middle value, or the mean of the two middle ones; 0 when there are none.
double median_of(std::vector<double> values);

}  // namespace retrosim
