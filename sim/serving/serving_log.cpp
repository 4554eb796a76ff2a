#include "sim/serving/serving_log.h"

#include <algorithm>
#include <cmath>

namespace retrosim {

const char* describe(RequestOutcome outcome) {
  switch (outcome) {
    case RequestOutcome::pending: return "pending";
    case RequestOutcome::finished: return "finished";
    case RequestOutcome::too_long: return "longer than max_model_len";
    case RequestOutcome::too_big: return "needs more KV blocks than a replica has";
  }
  return "";
}

double DurationHistogram::quantile_s(double p) const {
  if (total_ == 0) return 0;
  const double exact = std::ceil(p * static_cast<double>(total_) - 1e-9);
  const auto rank = static_cast<std::uint64_t>(std::max(exact, 1.0));
  std::uint64_t seen = 0;
  for (std::size_t bin = 0; bin < counts_.size(); ++bin) {
    seen += counts_[bin];
    if (seen < rank) continue;
    const auto octave = static_cast<int>(bin >> kBits);
    const double low = std::ldexp(static_cast<double>((std::size_t{1} << kBits) + (bin & ((1 << kBits) - 1))), octave);
    return (low + std::ldexp(0.5, octave)) / kPsPerSecond;
  }
  return 0;
}

}  // namespace retrosim
