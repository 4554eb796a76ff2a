// `retrosim simulate` for people: one screen.
#pragma once

#include <string>

#include "reports/simulation_run.h"
#include "reports/table.h"

namespace retrosim {

/// Inputs, the comparison, where the time goes, and how far the numbers can be trusted.
std::string simulation_text(const SimulationRun& run);

/// Rows: latency, traffic by kind, FLOPs, unseen pages. Columns: full, without a window, as asked, and the window's
/// cost.
Table comparison_table(const SimulationRun& run);

/// One row per operation of a layer (and outside the layers), summed over layers of the first step.
Table operations_table(const SimulationResult& result);

}  // namespace retrosim
