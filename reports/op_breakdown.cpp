#include "reports/op_breakdown.h"

#include <algorithm>

namespace retrosim {

std::string OpGroup::main_bound() const {
  const auto largest = std::max_element(bound_us.begin(), bound_us.end(),
                                        [](const auto& a, const auto& b) { return a.second < b.second; });
  return largest == bound_us.end() ? "" : largest->first;
}

std::string OpGroup::worst_provenance() const {
  for (const Provenance worst :
       {Provenance::transferred, Provenance::extrapolated, Provenance::interpolated, Provenance::measured}) {
    const std::string candidate(name_of(worst));
    if (provenance_us.contains(candidate)) return candidate;
  }
  return "";
}

std::vector<OpGroup> group_operations(const std::vector<OpRecord>& ops) {
  std::vector<OpGroup> groups;
  for (const OpRecord& op : ops) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const OpGroup& g) { return g.name == op.name; });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), OpGroup{});
      group->name = op.name;
    }
    ++group->launches;
    group->latency_us += op.latency_us;
    group->hbm_bytes += static_cast<double>(op.traffic.hbm());
    group->flops += op.flops;
    group->bound_us[std::string(name_of(op.bound))] += op.latency_us;
    group->provenance_us[std::string(name_of(op.provenance))] += op.latency_us;
  }
  return groups;
}

std::map<std::string, double> provenance_shares(const std::vector<OpGroup>& groups) {
  std::map<std::string, double> shares;
  double total = 0;
  for (const OpGroup& group : groups) {
    for (const auto& [name, us] : group.provenance_us) {
      shares[name] += us;
      total += us;
    }
  }
  if (total <= 0) return {};
  for (auto& [name, share] : shares) share /= total;
  return shares;
}

}  // namespace retrosim
