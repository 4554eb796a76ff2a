// Which configuration serves a workload under a service level for the least money.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/planner/goodput.h"

namespace retrosim {

/// One choice to be judged: a replica of it, and what it costs.
struct PlanCandidate {
  std::string name;  // of the choice, for reports
  ServingConfig config;
  std::size_t gpu = 0;            // index in the list of profiles
  double fidelity = 1;            // attention mass on the pages that are loaded; 1 for full attention
  bool fidelity_known = true;     // false: nothing says what is missed, and fidelity is 0
  double price_per_gpu_hour = 0;  // in the currency of the prices
};

struct PlanPoint {
  std::size_t candidate = 0;
  bool feasible = false;
  std::string reason;         // why not
  Goodput goodput;            // of one replica
  std::int64_t replicas = 0;  // that the demanded rate needs
  std::int64_t gpus = 0;
  double cost_per_hour = 0;
  double cost_per_million_output_tokens = 0;
  bool pareto = false;  // no feasible point is at least as good in everything and better in something
};

struct PlanDemand {
  Workload workload;          // arrivals at 1 request/s
  double requests_per_s = 1;  // to be served in all
  PercentileSlo slo;
  double min_fidelity = 0;
  GoodputSearch search;
};

/// Judges every candidate, on `threads` threads; the result does not depend on their number. Points come in the order
/// of the candidates. `progress(done)` is called after each, from any thread, one at a time.
std::vector<PlanPoint> make_plan(const std::vector<PlanCandidate>& candidates, const std::vector<GpuProfile>& gpus,
                                 const PlanDemand& demand, int threads,
                                 const std::function<void(std::size_t)>& progress);

/// Index of the cheapest feasible point (fewest GPUs, then highest fidelity, then first, among equals); -1 for none.
std::ptrdiff_t cheapest(const std::vector<PlanCandidate>& candidates, const std::vector<PlanPoint>& points);

}  // namespace retrosim
