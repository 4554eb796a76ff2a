// What the simulation says of a published figure's configuration.
#pragma once

#include "model/gpu_profile.h"
#include "reports/published_question.h"

namespace retrosim {

/// In the unit of question.value: the mean of 4 steps, so that selections that serve several steps are averaged. Throws
/// InputError for a configuration that cannot be simulated.
double predict_published(const PublishedCase& question, const GpuProfile& gpu);

}  // namespace retrosim
