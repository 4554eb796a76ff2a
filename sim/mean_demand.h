// The page demand of a step from what a trace says on average.
#pragma once

#include <optional>

#include "model/decode_config.h"

namespace retrosim {

/// Means over recorded steps, sparse layers and KV heads, per page that a sparse layer loads.
struct UnseenShare {
  double visits = 0;    // retrospection's extra page visits (method.md, "exposure"): sum over s = 1..w-1 of |U_s|
  double in_union = 0;  // |U_1| u ... u |U_{w-1}|; at most visits and at most 1
  std::optional<double> recalled = {};  // pages that come from host memory, at most 1; unset: what the policy expects
};

/// The pages that the policy selects in every sparse layer, `share` of them unseen; nothing is unseen for window 1 and
/// for a full budget.
StepDemand mean_demand(const DecodeConfig& config, const UnseenShare& share);

}  // namespace retrosim
