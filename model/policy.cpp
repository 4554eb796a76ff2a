#include "model/policy.h"

#include <algorithm>
#include <cmath>

namespace retrosim {

std::int64_t pages_in_budget(const PolicyParams& params, std::int64_t num_pages, int page_size) {
  // ceil(budget * Np), forgiving the last bit of a decimal fraction: 0.15 * 20 pages is 3 pages, not 4.
  const std::int64_t pages =
      params.budget_tokens > 0
          ? (params.budget_tokens + page_size - 1) / page_size
          : static_cast<std::int64_t>(std::ceil(params.budget * static_cast<double>(num_pages) * (1 - 1e-12)));
  return std::clamp<std::int64_t>(pages, 1, num_pages);
}

}  // namespace retrosim
