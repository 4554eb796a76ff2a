// Max-min fair rates of activities that share resources, by progressive filling.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace retrosim {

inline constexpr std::size_t kMaxResources = 8;

/// One number per resource.
using PerResource = std::array<double, kMaxResources>;

/// A candidate for capacity. Its rate x is the fraction of the speed that it has alone.
struct RateRequest {
  PerResource share{};  // of each resource's capacity, used at x = 1; in [0, 1]
  double weight = 1;    // > 0: rates grow in proportion to it
  double rate = 0;      // the answer, in (0, 1]
};

/// Sets every rate x_i in (0, 1] to the weighted max-min fair allocation under
///     sum_i share[i][r] * x_i <= capacity[r]   for every resource r.
///
/// All rates grow together, x_i = weight_i * level, until one reaches its cap of 1 or a resource is full; those
/// concerned keep their rate, the others go on (progressive filling: Bertsekas and Gallager, Data Networks,
/// section 6.5.2). No rate can then be raised without lowering one that is, relative to its weight, no larger. Fairness
/// is in slow-down, not in bytes: kernels that would use all and half of HBM alone both run at 2/3 side by side, as
/// under a memory controller that serves requests in proportion to what each kernel has outstanding.
///
/// The result depends on the order of the requests by rounding alone. Capacities must be positive.
void allocate_max_min(std::span<RateRequest> requests, const PerResource& capacity);

}  // namespace retrosim
