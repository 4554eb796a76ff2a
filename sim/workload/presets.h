// Published workloads: their lengths, their arrivals, and the statistics that both were fitted to.
#pragma once

#include <span>
#include <string_view>

#include "sim/workload/lengths.h"

namespace retrosim {

/// Tokens, as published; 0: not published.
struct LengthStatistics {
  double mean = 0;
  double p25 = 0;
  double p50 = 0;
  double p90 = 0;
  double p95 = 0;
  double p99 = 0;
};

/// Prompt and output lengths are drawn independently of each other.
struct WorkloadPreset {
  std::string_view name;
  LengthDistribution input;
  LengthDistribution output;
  LengthStatistics input_statistics;
  LengthStatistics output_statistics;
  /// Largest relative distance of a draw's mean and percentiles from the statistics (tests/sim/workload).
  double tolerance = 0;
  /// Of the recorded service; 0: not published.
  double requests_per_s = 0;
  double arrival_cv = 0;  // coefficient of variation of the gaps between arrivals
  /// Whose figures, and how they were come by. All of them are others' measurements.
  std::string_view source;
};

std::span<const WorkloadPreset> workload_presets();
/// Throws InputError naming `field` and listing the names.
const WorkloadPreset& find_workload_preset(std::string_view name, std::string_view field);

}  // namespace retrosim
