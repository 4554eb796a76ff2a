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

/// Conversations: each turn's prompt is the shared prefix, all that was said before, and new tokens.
struct SessionShape {
  LengthDistribution turns;     // turns of a session
  LengthDistribution think_ms;  // from the end of an answer to the next turn's arrival
  std::int32_t shared_prefix_tokens = 0;
};

/// `count` requests in sessions, the last of which may be cut short; `input` are the new tokens of a turn. Sessions
/// arrive by the process such that there are requests_per_s turns on average. Throws InputError as above, and for
/// prompts that grow beyond 16777216 tokens.
Workload synthetic_sessions(const ArrivalProcess& process, const LengthDistribution& input,
                            const LengthDistribution& output, const SessionShape& shape, std::int64_t count,
                            std::uint64_t seed);

/// "poisson at 2.5 requests/s".
std::string describe(const ArrivalProcess& process);

}  // namespace retrosim
