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

/// Simulates and summarises; `timeline` keeps the run's steps and preemptions. Throws InputError, and InfeasibleError
/// when the model does not fit.
ServingOutcome run_serving(const ServingRequest& request, bool timeline = false);

Json serving_json(const ServingOutcome& outcome);
Json serving_inputs_json(const ResolvedServing& resolved);
Json serving_metrics_json(const ServingMetrics& metrics);
std::string serving_text(const ServingOutcome& outcome);

/// One line per request in the order of the workload: request_id, outcome, input_tokens, output_tokens, arrival_s,
/// queue_ms, ttft_ms, tpot_ms, latency_ms, preemptions, replica; with prefix caching
/// cached_tokens; with sessions session and turn. Times of a rejected request are empty.
std::string requests_csv(const ServingOutcome& outcome);
/// One line per second of simulated time: t_s (the second begins then), arrivals, finished, prompt_tokens,
/// generated_tokens, and as of its end running, waiting, kv_blocks_used and, with prefix caching, kv_blocks_cached,
/// summed over the replicas.
std::string seconds_csv(const ServingOutcome& outcome);

}  // namespace retrosim
