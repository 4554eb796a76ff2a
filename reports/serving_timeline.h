// A serving run as a Chrome trace-event document, which Perfetto (ui.perfetto.dev) and chrome://tracing open.
#pragma once

#include <string>

#include "sim/serving/serving_simulation.h"

namespace retrosim {

/// One process per replica, times in microseconds. On its thread "engine" a complete event per run of steps with the
/// same sequences ("prefill", "decode" or "mixed"; steps, sequences, contexts and prompt tokens are its arguments);
/// counters "sequences" (running, waiting) and "kv_blocks" (used, and cached where there is a prefix cache); per
/// request an asynchronous slice from arrival to finish with "queued", "prefill" and "decode" inside, and an instant
/// for every preemption. Requires a run made with ServingOptions::timeline.
std::string serving_timeline(const ServingRun& run);

}  // namespace retrosim
