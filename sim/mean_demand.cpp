#include "sim/mean_demand.h"

#include <algorithm>
#include <cmath>

namespace retrosim {

StepDemand mean_demand(const DecodeConfig& config, const UnseenShare& share) {
  StepDemand demand = demand_without_unseen(config);
  const std::int64_t pages = config.num_pages();
  const bool all = config.policy->pages_selected(pages, config.page_size) >= pages;
  if (all || demand.layers.empty()) return demand;
  LayerDemand layer = demand.layers.front();
  const auto of_loaded = [&](double part) {
    return std::min<std::int64_t>(std::llround(static_cast<double>(layer.pages_loaded) * part), layer.pages_loaded);
  };
  if (share.recalled) layer.recalled_pages = of_loaded(*share.recalled);
  if (config.window > 1) {
    layer.unseen_visits = std::llround(static_cast<double>(layer.pages_loaded) * share.visits);
    layer.unseen_union = std::min(of_loaded(share.in_union), layer.unseen_visits);
  }
  std::fill(demand.layers.begin(), demand.layers.end(), layer);
  return demand;
}

}  // namespace retrosim
