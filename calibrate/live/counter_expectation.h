// The DRAM bytes that a step's kernels should move, beside which hardware counters are held.
#pragma once

#include <ostream>

#include "calibrate/live/live_config.h"

namespace retrosim {

/// One line of JSON per operation of `graph`, in launch order: {"id", "op", "kind", "layer", "read_bytes",
/// "write_bytes"}, as dram_traffic() has them with an L2 cache of `l2_bytes`.
void write_expected_bytes(std::ostream& out, const LiveConfig& live, const StepGraph& graph, std::int64_t l2_bytes);

/// The graph that the live decoder runs for `live` on a GPU with `sm_count` SMs.
StepGraph decoder_graph(const LiveConfig& live, int sm_count);

}  // namespace retrosim
