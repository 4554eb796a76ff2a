// The highest request rate that a serving configuration sustains under a service level.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/serving/serving_metrics.h"

namespace retrosim {

/// Limits on percentiles over requests (ITL: over gaps); unset ones do not bind.
struct PercentileSlo {
  double percentile = 0.99;  // 0.5, 0.9, 0.95 or 0.99
  std::optional<double> ttft_s;
  std::optional<double> tpot_s;
  std::optional<double> itl_s;
  std::optional<double> e2e_s;
};

/// Throws InputError for a percentile that is not one of the four, and when nothing is limited.
void validate(const PercentileSlo& slo);

/// The summary's figure at the percentile.
double at_percentile(const LatencySummary& summary, double percentile);

/// True when no request was rejected and every limit holds.
bool meets(const ServingMetrics& metrics, const PercentileSlo& slo);

struct GoodputSearch {
  std::int64_t requests = 400;  // per simulation
  double tolerance = 0.02;      // relative width of the bracket at the end
  int max_simulations = 40;
};

struct Goodput {
  double requests_per_s = 0;  // highest rate seen to meet the limits; 0 when even a lone request misses them
  ServingMetrics metrics;     // at that rate, or of the lone requests
  ReplicaMemory memory;
  int simulations = 0;
};

/// Bisection on the arrival rate of one replica. `workload` gives lengths and arrivals at 1 request/s; at rate r the
/// same requests come r times as fast (common random numbers), so that configurations are compared on the same
/// requests; of sessions only the first turns, think times stay. Throws InfeasibleError when the model leaves no memory
/// for KV blocks.
Goodput find_goodput(const ServingConfig& config, const std::shared_ptr<const Pricer>& pricer, const Workload& workload,
                     const PercentileSlo& slo, const GoodputSearch& search);

}  // namespace retrosim
