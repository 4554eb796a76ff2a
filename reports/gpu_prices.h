// What a GPU costs per hour: an input of planning, with dated defaults.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace retrosim {

struct GpuPrice {
  double usd_per_hour = 0;
  std::string source;
};

/// Defaults for bundled GPUs, with `overrides` ("h100-sxm=2.5") in their place. Throws InputError for an override that
/// is not GPU=PRICE with a price above 0.
std::map<std::string, GpuPrice> gpu_prices(const std::vector<std::string>& overrides);

}  // namespace retrosim
