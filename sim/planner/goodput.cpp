#include "sim/planner/goodput.h"

#include <cmath>
#include <string>

#include "model/error.h"

namespace retrosim {
namespace {

constexpr double kLoneGap_s = 1e3;    // between requests that never meet
constexpr double kHighestRate = 1e6;  // requests/s

Workload at_rate(const Workload& workload, double requests_per_s) {
  Workload scaled = workload;
  for (Request& request : scaled.requests) {
    if (request.previous >= 0) continue;  // a think time
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

Goodput find_goodput(const ServingConfig& config, const std::shared_ptr<const Pricer>& pricer, const Workload& workload,
                     const PercentileSlo& slo, const GoodputSearch& search) {
  validate(slo);
  Goodput best;
  StepCosts costs(config, pricer);
  const int gpus = config.num_replicas * config.decode.tensor_parallel_size;
  // At most so many of all requests may miss a limit (nearest rank: n - ceil(p n)).
  const auto n = static_cast<double>(workload.requests.size());
  const MissLimits limits{.ttft_s = slo.ttft_s,
                          .tpot_s = slo.tpot_s,
                          .e2e_s = slo.e2e_s,
                          .allowed = static_cast<std::int64_t>(n - std::ceil(slo.percentile * n - 1e-9))};
  const auto simulate = [&](double rate, bool whole) {
    ++best.simulations;
    ServingOptions options{.audited_steps = 0, .series = whole || slo.itl_s.has_value()};
    if (!whole) options.abandon = limits;
    ServingRun run = simulate_serving(config, pricer->profile(), at_rate(workload, rate), options, costs);
    best.memory = run.memory;
    return run;
  };
  const auto accept = [&](double rate) {
    const ServingRun run = simulate(rate, false);
    if (run.abandoned || !meets(serving_metrics(run, {}, gpus), slo)) return false;
    best.requests_per_s = rate;
    return true;
  };
  const auto report = [&](double rate) { best.metrics = serving_metrics(simulate(rate, true), {}, gpus); };
  const double lone_rate = 1 / kLoneGap_s;
  const ServingRun lone = simulate(lone_rate, false);
  const ServingMetrics alone = serving_metrics(lone, {}, gpus);
  if (lone.abandoned || !meets(alone, slo)) {
    best.metrics = alone;
    return best;
  }
  // Without queueing no more than one request at a time can be served in its own latency: from there upwards.
  double low = lone_rate;
  double high = std::max(1.0 / std::max(alone.e2e.mean_s, 1e-6), 2 * lone_rate);
  best.requests_per_s = low;
  while (best.simulations < search.max_simulations && high <= kHighestRate && accept(high)) {
    low = high;
    high *= 4;
  }
  // Above the highest rate the limits never bind.
  while (high <= kHighestRate && best.simulations < search.max_simulations && high > low * (1 + search.tolerance)) {
    const double middle = std::sqrt(low * high);
    (accept(middle) ? low : high) = middle;
  }
  report(best.requests_per_s);
  return best;
}

}  // namespace retrosim
