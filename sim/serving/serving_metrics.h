// Figures of a serving run, by the serving engines' definitions: TTFT from arrival, TPOT = (E2E - TTFT) / (output
// tokens - 1), ITL per gap.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "sim/serving/serving_simulation.h"

namespace retrosim {

/// Seconds; all 0 when there is nothing to summarise. Percentiles by nearest rank.
struct LatencySummary {
  double mean_s = 0;
  double p50_s = 0;
  double p90_s = 0;
  double p95_s = 0;
  double p99_s = 0;
};

/// A request is good when it finished and each of its figures that is limited here is within its limit.
struct ServingSlo {
  std::optional<double> ttft_s;
  std::optional<double> tpot_s;
  std::optional<double> e2e_s;

  bool met_by(const RequestRecord& record) const {
    return record.outcome == RequestOutcome::finished && (!ttft_s || record.ttft_s() <= *ttft_s) &&
           (!tpot_s || record.tpot_s() <= *tpot_s) && (!e2e_s || record.e2e_s() <= *e2e_s);
  }
};

struct ServingMetrics {
  std::int64_t finished = 0;
  std::int64_t rejected_too_long = 0;
  std::int64_t rejected_too_big = 0;
  std::int64_t preempted_requests = 0;  // at least once
  LatencySummary ttft;
  LatencySummary tpot;  // of requests with two output tokens or more
  LatencySummary itl;   // resolution 0.8 %
  LatencySummary e2e;
  LatencySummary queue;
  double makespan_s = 0;
  double requests_per_s = 0;
  double output_tokens_per_s = 0;
  double total_tokens_per_s = 0;  // prompt and output tokens of finished requests
  double output_tokens_per_s_per_gpu = 0;
  double output_tokens_per_s_per_user = 0;  // mean over requests of 1 / TPOT
  double decode_batch_mean = 0;             // sequences decoding, over the time that steps run
  // With prefix caching:
  std::int64_t cached_tokens = 0;       // prompt tokens of finished requests found computed when first scheduled
  std::int64_t requests_with_hits = 0;  // of finished requests, with at least one such token
  double prefix_cache_hit_rate = 0;     // cached_tokens over the prompt tokens of finished requests
  double ttft_with_hits_mean_s = 0;     // 0 when there are none, likewise below
  double ttft_without_hits_mean_s = 0;
  double goodput_requests_per_s = 0;
  double slo_attainment = 0;  // good requests, of all
};

/// `num_gpus`: of all replicas together.
ServingMetrics serving_metrics(const ServingRun& run, const ServingSlo& slo, int num_gpus);

}  // namespace retrosim
