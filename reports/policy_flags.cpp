#include "reports/policy_flags.h"

#include <sstream>

#include "model/error.h"

namespace retrosim {

void refuse_without_effect(const char* flag, const std::string& reason) {
  throw InputError(std::string(flag) + ": has no effect " + reason);
}

PolicyParams budget_params(const std::string& policy, std::optional<double> budget,
                           std::optional<std::int64_t> budget_tokens) {
  if (policy == "full") {
    if (budget) refuse_without_effect("--budget", "with --policy full");
    if (budget_tokens) refuse_without_effect("--budget-tokens", "with --policy full");
  }
  if (budget && budget_tokens) {
    throw InputError("--budget-tokens: cannot be combined with --budget, which also sets the budget");
  }
  PolicyParams params;
  if (budget) {
    if (!(*budget > 0.0 && *budget <= 1.0)) {
      std::ostringstream value;
      value << *budget;
      throw InputError("", "--budget", value.str(), "a fraction of the pages in (0, 1]");
    }
    params.budget = *budget;
  }
  if (budget_tokens) {
    if (*budget_tokens < 1) throw InputError("", "--budget-tokens", std::to_string(*budget_tokens), "at least 1 token");
    params.budget_tokens = *budget_tokens;
  }
  return params;
}

}  // namespace retrosim
