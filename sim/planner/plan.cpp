#include "sim/planner/plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>

#include "model/error.h"
#include "sim/planner/parallel_for.h"

namespace retrosim {
namespace {

PlanPoint judge(const PlanCandidate& candidate, const std::shared_ptr<const Pricer>& pricer, const PlanDemand& demand) {
  PlanPoint point;
  if (candidate.fidelity < demand.min_fidelity) {
    point.reason = "fidelity below the demanded";
    return point;
  }
  try {
    point.goodput = find_goodput(candidate.config, pricer, demand.workload, demand.slo, demand.search);
  } catch (const InfeasibleError& error) {
    point.reason = error.what();
    return point;
  } catch (const InputError& error) {
    point.reason = error.what();
    return point;
  }
  const ServingMetrics& metrics = point.goodput.metrics;
  if (metrics.rejected_too_big > 0) {
    point.reason = "a request needs more KV blocks than a replica has";
  } else if (metrics.rejected_too_long > 0) {
    point.reason = "a request is longer than max_model_len";
  } else if (point.goodput.requests_per_s <= 0) {
    point.reason = "a lone request misses the service level";
  } else {
    const int gpus_per_replica = candidate.config.decode.tensor_parallel_size;
    point.feasible = true;
    point.replicas = static_cast<std::int64_t>(std::ceil(demand.requests_per_s / point.goodput.requests_per_s - 1e-9));
    point.replicas = std::max<std::int64_t>(1, point.replicas);
    point.gpus = point.replicas * gpus_per_replica;
    point.cost_per_hour = static_cast<double>(point.gpus) * candidate.price_per_gpu_hour;
    double output_tokens = 0;
    for (const Request& request : demand.workload.requests) output_tokens += request.output_tokens;
    const double tokens_per_hour =
        demand.requests_per_s * output_tokens / static_cast<double>(demand.workload.requests.size()) * 3600;
    point.cost_per_million_output_tokens = point.cost_per_hour / tokens_per_hour * 1e6;
  }
  return point;
}

/// More is better in each.
std::array<double, 5> merits(const PlanCandidate& candidate, const PlanPoint& point) {
  const ServingMetrics& metrics = point.goodput.metrics;
  return {metrics.output_tokens_per_s_per_gpu, metrics.output_tokens_per_s_per_user, -point.cost_per_hour,
          -static_cast<double>(point.goodput.memory.block), candidate.fidelity};
}

bool dominates(const std::array<double, 5>& a, const std::array<double, 5>& b) {
  bool better = false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] < b[i]) return false;
    better = better || a[i] > b[i];
  }
  return better;
}

void mark_pareto(const std::vector<PlanCandidate>& candidates, std::vector<PlanPoint>& points) {
  for (PlanPoint& point : points) {
    if (!point.feasible) continue;
    const std::array<double, 5> own = merits(candidates[point.candidate], point);
    point.pareto = std::none_of(points.begin(), points.end(), [&](const PlanPoint& other) {
      return other.feasible && dominates(merits(candidates[other.candidate], other), own);
    });
  }
}

}  // namespace

std::vector<PlanPoint> make_plan(const std::vector<PlanCandidate>& candidates, const std::vector<GpuProfile>& gpus,
                                 const PlanDemand& demand, int threads,
                                 const std::function<void(std::size_t)>& progress) {
  validate(demand.slo);
  std::vector<PlanPoint> points(candidates.size());
  std::vector<std::shared_ptr<const Pricer>> pricers;
  for (const GpuProfile& gpu : gpus) pricers.push_back(std::make_shared<const Pricer>(gpu));
  std::mutex mutex;
  std::size_t done = 0;
  parallel_for(candidates.size(), threads, [&](std::size_t i) {
    points[i] = judge(candidates[i], pricers[candidates[i].gpu], demand);
    points[i].candidate = i;
    const std::lock_guard lock(mutex);
    progress(++done);
  });
  mark_pareto(candidates, points);
  return points;
}

std::ptrdiff_t cheapest(const std::vector<PlanCandidate>& candidates, const std::vector<PlanPoint>& points) {
  std::ptrdiff_t best = -1;
  const auto key = [&](const PlanPoint& p) {
    return std::array<double, 3>{p.cost_per_hour, static_cast<double>(p.gpus), -candidates[p.candidate].fidelity};
  };
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (points[i].feasible && (best < 0 || key(points[i]) < key(points[static_cast<std::size_t>(best)]))) {
      best = static_cast<std::ptrdiff_t>(i);
    }
  }
  return best;
}

}  // namespace retrosim
