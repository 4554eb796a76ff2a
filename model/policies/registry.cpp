// The table of policies: the one place beside its own file that a new policy is named in.
#include <algorithm>
#include <array>
#include <cmath>

#include "model/error.h"
#include "model/policy.h"

namespace retrosim {

#define RETROSIM_POLICIES(POLICY) \
  POLICY(full)                    \
  POLICY(streaming)               \
  POLICY(tova)                    \
  POLICY(h2o)                     \
  POLICY(snapkv)                  \
  POLICY(quest)                   \
  POLICY(reuse)                   \
  POLICY(arkvale)                 \
  POLICY(pqcache)                 \
  POLICY(magicpig)                \
  POLICY(icecache)                \
  POLICY(lserve)                  \
  POLICY(keyformer)               \
  POLICY(morphkv)

using PolicyFactory = std::shared_ptr<const Policy>(const PolicyParams&);
#define RETROSIM_DECLARE(name) PolicyFactory make_##name##_policy;
RETROSIM_POLICIES(RETROSIM_DECLARE)
#undef RETROSIM_DECLARE

namespace {

struct Entry {
  std::string_view name;
  PolicyFactory* make;
};
#define RETROSIM_ENTRY(name) Entry{#name, make_##name##_policy},
constexpr std::array kPolicies{RETROSIM_POLICIES(RETROSIM_ENTRY)};
#undef RETROSIM_ENTRY

/// Refuses a variant or an option that the policy does not have.
void check(const Policy& policy) {
  const PolicyParams& params = policy.params();
  const std::string owner = " of policy " + std::string(policy.name());
  if (params.variant) {
    const auto variants = policy.variants();
    std::string names;
    for (const PolicyVariant variant : variants) names.append(names.empty() ? "" : " or ").append(name_of(variant));
    if (std::ranges::find(variants, *params.variant) == variants.end()) {
      throw InputError("", "policy variant" + owner, name_of(*params.variant), names);
    }
  }
  std::string names;
  for (const PolicyOption& option : policy.options()) names.append(names.empty() ? "" : ", ").append(option.name);
  for (const auto& [name, value] : params.options) {
    if (std::ranges::find(policy.options(), name, &PolicyOption::name) == policy.options().end()) {
      throw InputError("", "option" + owner, name, names.empty() ? "none: it has no options" : "one of " + names);
    }
  }
}

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
    if (entry.name == name) {
      auto policy = entry.make(params);
      check(*policy);
      return policy;
    }
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
