// A simulated step as a list of scheduled operations, for tables and timeline viewers.
#pragma once

#include <string>
#include <vector>

#include "model/op.h"
#include "model/pricing.h"

namespace retrosim {

/// One operation as scheduled.
struct OpRecord {
  std::string name;
  OpKind kind{};
  int layer = -1;
  Stream stream = Stream::compute;
  double start_us = 0;  // from the start of the step
  double latency_us = 0;
  Bound bound{};
  Provenance provenance{};
  Traffic traffic;
  double flops = 0;
};

/// The operations of one step in launch order. The step starts at 0 and ends with its last operation.
struct Timeline {
  double latency_us = 0;
  std::vector<OpRecord> ops;
};

}  // namespace retrosim
