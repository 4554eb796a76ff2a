// Many policies, windows, contexts, batches and tensor-parallel degrees side by side: what a decode step costs and
// recalls.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "reports/json_text.h"
#include "reports/simulation_run.h"

namespace retrosim {

/// Every combination is asked; `base` says what they share, its own policy, window, context, batch and tensor-parallel
/// size are not used. The budget of `base` is every policy's but full's.
struct ComparisonRequest {
  SimulationRequest base;
  std::vector<std::string> policies;  // empty: all of them
  std::vector<int> windows = {1, 2};
  std::vector<std::int64_t> contexts = {32768};
  std::vector<std::int64_t> batches = {1};
  std::vector<int> tensor_parallel_sizes = {1};
};

struct ComparisonPoint {
  std::string policy;
  int window = 1;
  std::int64_t context = 0;
  std::int64_t batch = 0;
  int tensor_parallel_size = 1;
  std::string refused;  // why the combination is not defined; empty when it is
  StepSummary step;
  GpuMemoryUse memory;
  bool window_is_pure_cost = false;
  bool evaluated = true;              // false: something stands in for the policy's rule (PolicyEvidence)
  std::optional<double> mass_recall;  // attention mass on the pages a query has seen, its window included; full: 1
  double interconnect_bytes = 0;      // of one GPU, per step
  double all_reduce_us = 0;           // per step
};

struct PolicyComparison {
  ComparisonRequest request;
  std::string gpu;
  std::string provenance;  // of the profile
  std::string llm;
  std::vector<ComparisonPoint> points;
};

/// Throws InputError for an unknown name or value, and when not one combination is defined.
PolicyComparison compare_policies(const ComparisonRequest& request);

/// Schema retrosim.compare/1.
Json comparison_json(const PolicyComparison& comparison);
std::string comparison_csv(const PolicyComparison& comparison);
/// One table per context and tensor-parallel size: latency over the batches, traffic, memory, recall.
std::string comparison_markdown(const PolicyComparison& comparison);
/// Latency against recalled attention mass at the longest context and the first batch, with the Pareto front.
std::string comparison_svg(const PolicyComparison& comparison);

}  // namespace retrosim
