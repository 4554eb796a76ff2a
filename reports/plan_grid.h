// The choices of a plan: every combination of the values that a user lists.
#pragma once

#include "reports/serving_plan.h"

namespace retrosim {

/// Fills in the plan's GPUs, workload and candidates; combinations that do not exist go to `skipped` with the reason.
/// Needs the plan's prices. Throws InputError for a GPU without a price, a value that no combination can have, and more
/// than 100,000 combinations.
void fill_plan_grid(const PlanRequest& request, ServingPlan& plan);

}  // namespace retrosim
