// Which operations the tables of a kind interpolate between.
#pragma once

#include <string>
#include <vector>

#include "model/latency_table.h"
#include "model/op.h"

namespace retrosim {

/// Grids of `kind`; none for a kind that a roofline alone describes.
std::vector<std::vector<LatencyTable::Axis>> calibration_grids(OpKind kind);

/// The regime of an operation, for errors by regime: "rows 1 to 16", "1 block to 1 wave, window above 1".
std::string calibration_regime(const Op& op, int sm_count);

}  // namespace retrosim
