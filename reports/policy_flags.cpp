#include "reports/policy_flags.h"

#include <charconv>
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

void set_variant_and_options(const std::string& variant, const std::vector<std::string>& options,
                             PolicyParams& params) {
  if (!variant.empty()) params.variant = parse_policy_variant(variant, "--policy-variant");
  for (const std::string& option : options) {
    const std::size_t equals = option.find('=');
    double value = 0;
    const char* end = option.data() + option.size();
    const auto parsed = equals == std::string::npos || equals == 0
                            ? std::from_chars_result{option.data(), std::errc::invalid_argument}
                            : std::from_chars(option.data() + equals + 1, end, value);
    if (parsed.ec != std::errc{} || parsed.ptr != end) {
      throw InputError("", "--policy-option", option, "NAME=NUMBER");
    }
    if (!params.options.emplace(option.substr(0, equals), value).second) {
      throw InputError("", "--policy-option", option, "each option once");
    }
  }
}

}  // namespace retrosim
