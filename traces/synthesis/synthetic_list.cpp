#include "traces/synthesis/synthetic_list.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace retrosim {

PageLayout make_page_layout(std::int64_t bulk_pages, std::int64_t first_pages, std::int64_t last_pages,
                            std::uint64_t seed) {
  std::mt19937_64 random(seed);
  PageLayout layout;
  layout.source.resize(static_cast<std::size_t>(last_pages));
  layout.copy.resize(static_cast<std::size_t>(last_pages));
  const std::int64_t bulk = std::max<std::int64_t>(first_pages - kRecentPages, 0);
  const std::int64_t sinks = std::min(kSinkPages, bulk);
  std::int64_t copies = 1;
  for (std::int64_t page = 0; page < last_pages; ++page) {
    const auto at = static_cast<std::size_t>(page);
    if (page < sinks) {
      layout.source[at] = static_cast<std::int32_t>(page);
    } else if (page < bulk) {
      const std::int64_t source = sinks + (page - sinks) * (bulk_pages - sinks) / (bulk - sinks);
      layout.source[at] = static_cast<std::int32_t>(source);
      const bool again = page > sinks && layout.source[at - 1] == layout.source[at];
      layout.copy[at] = again ? layout.copy[at - 1] + 1 : 0;
      copies = std::max<std::int64_t>(copies, layout.copy[at] + 1);
    } else {
      const std::int64_t newer = (bulk_pages + 1) / 2;
      layout.source[at] = static_cast<std::int32_t>(
          bulk_pages - 1 - static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(newer)));
      layout.copy[at] = -1;
    }
  }
  // Pages that become bulk later have a path of their own: their sources are in use already.
  if (last_pages - bulk > kRecentPages) ++copies;
  for (std::int32_t& copy : layout.copy) {
    if (copy < 0) copy = static_cast<std::int32_t>(copies - 1);
  }
  layout.copies = copies;
  return layout;
}

void SyntheticList::step(std::int64_t step, std::int64_t num_pages) {
  z_.resize(paths_.size());
  y_.resize(paths_.size());
  const auto at = static_cast<std::size_t>(step);
  for (std::size_t copy = 0; copy < paths_.size(); ++copy) {
    model_->rows(paths_[copy].factor[at], paths_[copy].residual[at], z_[copy], y_[copy]);
  }
  const auto pages = static_cast<std::size_t>(num_pages);
  score_.resize(pages);
  weight_.resize(pages);
  double total = 0;
  for (std::size_t page = 0; page < pages; ++page) {
    const std::int64_t from_end = num_pages - 1 - static_cast<std::int64_t>(page);
    const bool recent = from_end < kRecentPages;
    const auto row = static_cast<std::size_t>(recent ? model_->bulk_pages() + from_end : layout_->source[page]);
    const auto copy = static_cast<std::size_t>(recent ? 0 : layout_->copy[page]);
    score_[page] = z_[copy][row];
    weight_[page] = std::exp(y_[copy][row]);
    total += weight_[page];
  }
  pages_.resize(pages);
  std::iota(pages_.begin(), pages_.end(), PageId{0});
  // Equal scores go to the lower page (method.md).
  std::sort(pages_.begin(), pages_.end(),
            [&](PageId a, PageId b) { return score_[a] != score_[b] ? score_[a] > score_[b] : a < b; });
  mass_.resize(pages);
  for (std::size_t i = 0; i < pages; ++i) mass_[i] = static_cast<float>(weight_[pages_[i]] / total);
}

}  // namespace retrosim
