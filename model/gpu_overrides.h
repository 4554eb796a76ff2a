// What-if GPUs: a profile with some figures of the datasheet replaced.
#pragma once

#include <span>
#include <string>

#include "model/gpu_profile.h"

namespace retrosim {

/// Each of `settings` is KEY=NUMBER with a key of the GPU spec's JSON (hbm_bandwidth_bytes_per_s, sm_count, ...). With
/// any, the result is the datasheet so changed with the profile's efficiencies and latencies (transfer_profile): every
/// price is `transferred`. Throws InputError naming --set for an unknown key and a value that the spec refuses.
GpuProfile with_overrides(const GpuProfile& profile, std::span<const std::string> settings);

}  // namespace retrosim
