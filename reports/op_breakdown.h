// Operations of one step, grouped by the role they play in a layer.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sim/simulate.h"

namespace retrosim {

struct OpGroup {
  std::string name;
  std::int64_t launches = 0;
  double latency_us = 0;
  double hbm_bytes = 0;
  double flops = 0;
  // Latency in microseconds by what bounds it and by how well it is known.
  std::map<std::string, double> bound_us;
  std::map<std::string, double> provenance_us;

  /// The bound with the largest share of the latency.
  std::string main_bound() const;
  /// The worst-known provenance in the group.
  std::string worst_provenance() const;
};

/// Groups in the order of first launch.
std::vector<OpGroup> group_operations(const std::vector<OpRecord>& ops);

/// Share of the summed latency per provenance, over all groups; sums to 1 unless there are no operations.
std::map<std::string, double> provenance_shares(const std::vector<OpGroup>& groups);

}  // namespace retrosim
