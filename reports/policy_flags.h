// The flags that size a policy, checked in one place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/policy.h"

namespace retrosim {

/// Parameters of `policy` from --budget and --budget-tokens; unset ones keep their defaults.
/// Throws InputError for both at once, for values out of range, and for a policy without a budget (full).
PolicyParams budget_params(const std::string& policy, std::optional<double> budget,
                           std::optional<std::int64_t> budget_tokens);

/// Sets `params` to what --policy-variant (empty: the policy's default) and --policy-option NAME=VALUE ask for. Whether
/// the policy has them is make_policy's to say. Throws InputError for anything else than a variant's name or
/// NAME=NUMBER.
void set_variant_and_options(const std::string& variant, const std::vector<std::string>& options, PolicyParams& params);

/// Throws InputError "<flag>: has no effect <reason>".
[[noreturn]] void refuse_without_effect(const char* flag, const std::string& reason);

}  // namespace retrosim
