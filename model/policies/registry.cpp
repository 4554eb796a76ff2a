// The table of policies: the one place beside its own file that a new policy is named in.
#include <array>

#include "model/error.h"
#include "model/policy.h"

namespace retrosim {

using PolicyFactory = std::shared_ptr<const Policy>(const PolicyParams&);
PolicyFactory make_full_policy;
PolicyFactory make_streaming_policy;
PolicyFactory make_quest_policy;

namespace {

struct Entry {
  std::string_view name;
  PolicyFactory* make;
};
constexpr std::array kPolicies{Entry{"full", make_full_policy}, Entry{"streaming", make_streaming_policy},
                               Entry{"quest", make_quest_policy}};

}  // namespace

std::shared_ptr<const Policy> make_policy(std::string_view name, const PolicyParams& params) {
  if (params.budget_tokens < 0) {
    throw InputError("", "budget_tokens", std::to_string(params.budget_tokens), "at least 1 token");
  }
  if (params.budget_tokens == 0 && !(params.budget > 0 && params.budget <= 1)) {
    throw InputError("", "budget", std::to_string(params.budget), "a fraction of the context's pages in (0, 1]");
  }
  if (params.sink_tokens < 0) throw InputError("", "sink_tokens", std::to_string(params.sink_tokens), "at least 0");
  std::string names;
  for (const Entry& entry : kPolicies) {
    if (entry.name == name) return entry.make(params);
    names.append(names.empty() ? "" : ", ").append(entry.name);
  }
  throw InputError("", "policy", name, "one of " + names + ", or retro (quest with window 2)");
}

std::vector<std::string> policy_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kPolicies) names.emplace_back(entry.name);
  return names;
}

}  // namespace retrosim
