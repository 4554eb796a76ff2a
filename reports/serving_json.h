// The document of `retrosim serve --json`, schema retrosim.serve/1, and the tables beside it.
#pragma once

#include <string>

#include "reports/json_text.h"
#include "reports/serving_request.h"

namespace retrosim {

struct ServingOutcome {
  ResolvedServing resolved;
  ServingRun run;
  ServingMetrics metrics;
};

/// Simulates and summarises. Throws InputError, and InfeasibleError when the model does not fit.
ServingOutcome run_serving(const ServingRequest& request);

Json serving_json(const ServingOutcome& outcome);
Json serving_inputs_json(const ResolvedServing& resolved);
Json serving_metrics_json(const ServingMetrics& metrics);
std::string serving_text(const ServingOutcome& outcome);

/// One line per request in the order of the workload: request_id, outcome, input_tokens, output_tokens, arrival_s,
/// queue_ms, ttft_ms, tpot_ms, latency_ms, preemptions, replica. Times of a rejected request are empty.
std::string requests_csv(const ServingRun& run);
/// One line per second of simulated time.
std::string seconds_csv(const ServingRun& run);

}  // namespace retrosim
