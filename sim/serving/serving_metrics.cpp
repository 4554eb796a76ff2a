#include "sim/serving/serving_metrics.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace retrosim {
namespace {

LatencySummary summary_of(std::vector<double> values) {
  LatencySummary summary;
  if (values.empty()) return summary;
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  for (const double value : values) summary.mean_s += value / n;
  const auto at = [&](double p) {
    const double rank = std::max(std::ceil(p * n - 1e-9), 1.0);  // as percentile.h
    return values[static_cast<std::size_t>(rank) - 1];
  };
  summary.p50_s = at(0.5);
  summary.p90_s = at(0.9);
  summary.p95_s = at(0.95);
  summary.p99_s = at(0.99);
  return summary;
}

/// One figure of every finished request that `use` accepts.
template <typename Use, typename Figure>
LatencySummary summary_over(const ServingRun& run, Use use, Figure figure) {
  std::vector<double> values;
  values.reserve(run.requests.size());
  for (const RequestRecord& record : run.requests) {
    if (record.outcome == RequestOutcome::finished && use(record)) values.push_back(figure(record));
  }
  return summary_of(std::move(values));
}

}  // namespace

ServingMetrics serving_metrics(const ServingRun& run, const ServingSlo& slo, int num_gpus) {
  ServingMetrics m;
  std::int64_t good = 0;
  double input_tokens = 0;
  double output_tokens = 0;
  double users = 0;
  for (const RequestRecord& record : run.requests) {
    if (record.outcome == RequestOutcome::too_long) ++m.rejected_too_long;
    if (record.outcome == RequestOutcome::too_big) ++m.rejected_too_big;
    if (record.preemptions > 0) ++m.preempted_requests;
    if (slo.met_by(record)) ++good;
    if (record.outcome != RequestOutcome::finished) continue;
    ++m.finished;
    input_tokens += record.input_tokens;
    m.cached_tokens += record.cached_tokens;
    m.requests_with_hits += record.cached_tokens > 0 ? 1 : 0;
    (record.cached_tokens > 0 ? m.ttft_with_hits_mean_s : m.ttft_without_hits_mean_s) += record.ttft_s();
    output_tokens += record.output_tokens;
    if (record.output_tokens > 1 && record.tpot_s() > 0) {
      users += 1;
      m.output_tokens_per_s_per_user += 1 / record.tpot_s();
    }
  }
  if (m.requests_with_hits > 0) m.ttft_with_hits_mean_s /= static_cast<double>(m.requests_with_hits);
  if (const std::int64_t others = m.finished - m.requests_with_hits; others > 0) {
    m.ttft_without_hits_mean_s /= static_cast<double>(others);
  }
  if (input_tokens > 0) m.prefix_cache_hit_rate = static_cast<double>(m.cached_tokens) / input_tokens;
  if (users > 0) m.output_tokens_per_s_per_user /= users;
  const auto all = [](const RequestRecord&) { return true; };
  const auto several = [](const RequestRecord& record) { return record.output_tokens > 1; };
  m.ttft = summary_over(run, all, [](const RequestRecord& record) { return record.ttft_s(); });
  m.tpot = summary_over(run, several, [](const RequestRecord& record) { return record.tpot_s(); });
  m.e2e = summary_over(run, all, [](const RequestRecord& record) { return record.e2e_s(); });
  m.queue = summary_over(run, all, [](const RequestRecord& record) { return record.queue_s(); });
  m.itl = {run.gaps.mean_s(), run.gaps.quantile_s(0.5), run.gaps.quantile_s(0.9), run.gaps.quantile_s(0.95),
           run.gaps.quantile_s(0.99)};
  m.makespan_s = seconds_from_ps(run.makespan);
  if (run.totals.decode_seconds > 0) m.decode_batch_mean = run.totals.batch_seconds / run.totals.decode_seconds;
  m.slo_attainment = static_cast<double>(good) / static_cast<double>(run.requests.size());
  if (m.makespan_s > 0) {
    m.requests_per_s = static_cast<double>(m.finished) / m.makespan_s;
    m.output_tokens_per_s = output_tokens / m.makespan_s;
    m.total_tokens_per_s = (input_tokens + output_tokens) / m.makespan_s;
    m.output_tokens_per_s_per_gpu = m.output_tokens_per_s / num_gpus;
    m.goodput_requests_per_s = static_cast<double>(good) / m.makespan_s;
  }
  return m;
}

}  // namespace retrosim
