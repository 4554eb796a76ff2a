// Policies whose selected list serves several steps; inside model/policies/.
#pragma once

#include <cstdint>
#include <vector>

#include "model/policy.h"

namespace retrosim {

/// Into `out`: at positions divisible by `interval`, and at the first step, the newest page and the best ranked others,
/// `count` in all; at the others the list of the step before with the pages that came since in front. Throws InputError
/// when the ranking is too short.
void select_every(std::int64_t interval, std::int64_t count, const RankedPages& ranked, SelectionMemory& memory,
                  std::vector<PageId>& out);

}  // namespace retrosim
