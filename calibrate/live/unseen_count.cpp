#include "calibrate/live/unseen_count.h"

#include <algorithm>

namespace retrosim {

LayerDemand count_demand(const SelectedPages& selected, std::int64_t context, int page_size, int window,
                         std::span<const std::int32_t> last_loaded, std::int64_t max_pages, std::int64_t& overlap_sum) {
  LayerDemand demand;
  const std::int64_t t = context - 1;
  std::size_t list = 0;
  for (const auto& sequence : selected) {
    for (const auto& pages : sequence) {
      const std::size_t first = list++ * static_cast<std::size_t>(max_pages);
      for (const std::int32_t page : pages) {
        const std::int64_t begin = std::int64_t{page} * page_size;
        ++demand.pages_loaded;
        demand.tokens_loaded += std::min<std::int64_t>(page_size, context - begin);
        if (last_loaded.empty()) continue;
        const std::int64_t last = last_loaded[first + static_cast<std::size_t>(page)];
        overlap_sum += last == t - 1 ? 1 : 0;
        for (int s = 1; s < window && last < t - s && begin <= t - s; ++s) {  // the unseen sets nest
          ++demand.unseen_visits;
          demand.unseen_union += s == 1 ? 1 : 0;
        }
      }
    }
  }
  return demand;
}

}  // namespace retrosim
