#include "sim/planner/goodput.h"

#include <cmath>
#include <string>

#include "model/error.h"

namespace retrosim {
namespace {

constexpr double kLoneGap_s = 1e3;  // between requests that never meet

Workload at_rate(const Workload& workload, double requests_per_s) {
  Workload scaled = workload;
  for (Request& request : scaled.requests) {
    request.arrival = static_cast<TimePs>(std::llround(static_cast<double>(request.arrival) / requests_per_s));
  }
  return scaled;
}

}  // namespace

void validate(const PercentileSlo& slo) {
  if (slo.percentile != 0.5 && slo.percentile != 0.9 && slo.percentile != 0.95 && slo.percentile != 0.99) {
    throw InputError("", "slo_percentile", std::to_string(slo.percentile), "0.5, 0.9, 0.95 or 0.99");
  }
  if (!slo.ttft_s && !slo.tpot_s && !slo.itl_s && !slo.e2e_s) {
    throw InputError("", "slo", "no limit", "at least one of TTFT, TPOT, ITL and E2E");
  }
}

double at_percentile(const LatencySummary& summary, double percentile) {
  if (percentile == 0.5) return summary.p50_s;
  if (percentile == 0.9) return summary.p90_s;
  return percentile == 0.95 ? summary.p95_s : summary.p99_s;
}

bool meets(const ServingMetrics& metrics, const PercentileSlo& slo) {
  const auto within = [&](const LatencySummary& summary, const std::optional<double>& limit) {
    return !limit || at_percentile(summary, slo.percentile) <= *limit;
  };
  return metrics.rejected_too_big == 0 && metrics.rejected_too_long == 0 && within(metrics.ttft, slo.ttft_s) &&
         within(metrics.tpot, slo.tpot_s) && within(metrics.itl, slo.itl_s) && within(metrics.e2e, slo.e2e_s);
}

Goodput find_goodput(const ServingConfig& config, const GpuProfile& gpu, const Workload& workload,
                     const PercentileSlo& slo, const GoodputSearch& search) {
  validate(slo);
  Goodput best;
  StepCosts costs(config, gpu);
  const auto simulate = [&](double rate) {
    ++best.simulations;
    const ServingRun run = simulate_serving(config, gpu, at_rate(workload, rate), {.audited_steps = 0}, costs);
    best.memory = run.memory;
    return serving_metrics(run, {}, config.num_replicas * config.decode.tensor_parallel_size);
  };
  const double lone_rate = 1 / kLoneGap_s;
  best.metrics = simulate(lone_rate);
  if (!meets(best.metrics, slo)) return best;
  // Without queueing no more than one request at a time can be served in its own latency: from there upwards.
  double low = lone_rate;
  double high = std::max(1.0 / std::max(best.metrics.e2e.mean_s, 1e-6), 2 * lone_rate);
  best.requests_per_s = low;
  const auto accept = [&](double rate) {
    ServingMetrics metrics = simulate(rate);
    if (!meets(metrics, slo)) return false;
    best.metrics = metrics;
    best.requests_per_s = rate;
    return true;
  };
  while (best.simulations < search.max_simulations && accept(high)) {
    low = high;
    high *= 4;
    if (high > 1e6) return best;  // the limits never bind
  }
  while (best.simulations < search.max_simulations && high > low * (1 + search.tolerance)) {
    const double middle = std::sqrt(low * high);
    (accept(middle) ? low : high) = middle;
  }
  return best;
}

}  // namespace retrosim
