// The simulated step as a Chrome trace-event document, which Perfetto (ui.perfetto.dev) and chrome://tracing open.
#pragma once

#include <string>
#include <vector>

#include "reports/json_text.h"
#include "sim/simulate.h"

namespace retrosim {

/// One process of the timeline: a variant's first step, a thread per stream.
struct TimelineTrack {
  std::string name;
  const std::vector<OpRecord>* ops = nullptr;
};

/// Complete events ("ph": "X") with times in microseconds; bytes, FLOPs, bound and provenance are arguments of each.
Json timeline_json(const std::vector<TimelineTrack>& tracks);

}  // namespace retrosim
