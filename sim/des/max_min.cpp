#include "sim/des/max_min.h"

#include <algorithm>
#include <limits>

namespace retrosim {

void allocate_max_min(std::span<RateRequest> requests, const PerResource& capacity) {
  // The common case: there is enough for everyone.
  PerResource asked{};
  for (const RateRequest& request : requests) {
    for (std::size_t r = 0; r < kMaxResources; ++r) asked[r] += request.share[r];
  }
  bool enough = true;
  for (std::size_t r = 0; r < kMaxResources; ++r) enough &= asked[r] <= capacity[r];
  for (RateRequest& request : requests) request.rate = enough ? 1 : 0;  // 0: not settled
  if (enough) return;

  PerResource left = capacity;  // less what the settled requests use
  for (std::size_t unsettled = requests.size(); unsettled > 0;) {
    // Demand of the unsettled per unit of level, and the level at which the first resource or cap is reached.
    PerResource demand{};
    double level = std::numeric_limits<double>::infinity();
    for (const RateRequest& request : requests) {
      if (request.rate > 0) continue;
      for (std::size_t r = 0; r < kMaxResources; ++r) demand[r] += request.share[r] * request.weight;
      level = std::min(level, 1.0 / request.weight);
    }
    PerResource level_of{};
    for (std::size_t r = 0; r < kMaxResources; ++r) {
      level_of[r] = demand[r] > 0 ? left[r] / demand[r] : std::numeric_limits<double>::infinity();
      level = std::min(level, level_of[r]);
    }
    // Rounding may leave a full resource with nothing or a little less; a rate stays positive so that everything ends.
    level = std::max(level, 1e-12);
    for (RateRequest& request : requests) {
      if (request.rate > 0) continue;
      const bool capped = 1.0 / request.weight <= level;
      bool settled = capped;
      for (std::size_t r = 0; r < kMaxResources; ++r) settled |= request.share[r] > 0 && level_of[r] <= level;
      if (!settled) continue;
      request.rate = capped ? 1.0 : std::min(1.0, level * request.weight);
      for (std::size_t r = 0; r < kMaxResources; ++r) left[r] -= request.share[r] * request.rate;
      --unsettled;
    }
  }
}

}  // namespace retrosim
