// From a recorded trace to the page demand of a target configuration: replay, then mapping when the shapes differ.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/decode_config.h"

namespace retrosim {

class TraceReader;

/// How a trace of one shape stands for a target of another; printed as `trace_mapping`.
struct TraceMapping {
  bool exact = false;  // same layers, heads, page size and context: nothing was mapped
  std::string layers;  // the rule, one sentence each
  std::string heads;
  std::string context;
  std::string page_size;
  std::string batch;
  std::string synthetic = {};  // the header's label where the trace was not recorded, else empty
};

struct TraceDemand {
  std::vector<StepDemand> steps;  // of the target
  TraceMapping mapping;
  double mass_recall_mean = 0;        // attention mass on the selected pages of the current query, over sparse layers
  double mass_recall_retro_mean = 0;  // after w-1 further steps of retrospection
  bool truncated = false;             // the trace was cut off and read to its last whole chunk
};

/// Replays the trace in `rtrace_file` under config.policy and config.window and maps the result onto the config's shape
/// for `num_steps` steps. Decodes only the chunks and layers it needs. Throws InputError for a damaged trace, or one
/// too short, or with too few ranked pages for the budget.
TraceDemand demand_from_trace(const std::string& rtrace_file, const DecodeConfig& config, int num_steps);
/// The same for an open trace, which may lie in memory.
TraceDemand demand_from_trace(const TraceReader& trace, const DecodeConfig& config, int num_steps);

}  // namespace retrosim
