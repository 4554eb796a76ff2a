// One request of a serving workload.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/des/time.h"

namespace retrosim {

struct Request {
  TimePs arrival = 0;
  std::int32_t input_tokens = 0;   // >= 1
  std::int32_t output_tokens = 0;  // >= 1
  friend bool operator==(const Request&, const Request&) = default;
};

/// Requests in the order of their arrivals.
struct Workload {
  std::vector<Request> requests;
  std::string description;              // how it came about, with every parameter
  std::int64_t skipped_unanswered = 0;  // rows of a trace that record no response (BurstGPT's failures)
};

}  // namespace retrosim
