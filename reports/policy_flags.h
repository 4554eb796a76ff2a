// The flags that size a policy, checked in one place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/policy.h"

namespace retrosim {

/// Parameters of `policy` from --budget and --budget-tokens; unset ones keep their defaults.
/// Throws InputError for both at once, for values out of range, and for a policy without a budget (full).
PolicyParams budget_params(const std::string& policy, std::optional<double> budget,
                           std::optional<std::int64_t> budget_tokens);

/// Throws InputError "<flag>: has no effect <reason>".
[[noreturn]] void refuse_without_effect(const char* flag, const std::string& reason);

}  // namespace retrosim
