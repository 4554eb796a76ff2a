// Workloads drawn from distributions.
#pragma once

#include <cstdint>

#include "sim/workload/lengths.h"
#include "sim/workload/request.h"

namespace retrosim {

enum class ArrivalKind : std::uint8_t { all_at_once, poisson, gamma };

struct ArrivalProcess {
  ArrivalKind kind = ArrivalKind::poisson;
  double requests_per_s = 1;  // > 0; unused when all come at once
  double cv = 1;              // gamma: coefficient of variation of the gaps between arrivals (1 is Poisson)
};

/// Arrivals of `count` requests, ascending. Request i's gap, in mean gaps, depends on (seed, i) alone: at twice the
/// rate the same requests come twice as fast. Throws InputError for a rate or cv that is not positive.
std::vector<TimePs> draw_arrivals(const ArrivalProcess& process, std::int64_t count, std::uint64_t seed);

/// Throws InputError for an impossible process or fewer than one request.
Workload synthetic_workload(const ArrivalProcess& process, const LengthDistribution& input,
                            const LengthDistribution& output, std::int64_t count, std::uint64_t seed);

/// "poisson at 2.5 requests/s".
std::string describe(const ArrivalProcess& process);

}  // namespace retrosim
