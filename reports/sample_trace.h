// The recorded trace that is compiled into the program and used where --trace is not given.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "traces/demand.h"

namespace retrosim {

/// Name of the bundled trace, as printed in `inputs`.
std::string_view sample_trace_name();

/// The whole .rtrace file.
std::span<const std::byte> sample_trace();

/// demand_from_trace() on the bundled trace.
TraceDemand demand_from_sample_trace(const DecodeConfig& config, int num_steps);

}  // namespace retrosim
