// Larger pages made of neighbouring recorded ones, as LServe's hierarchical paging (arXiv 2502.14866, section 3.4)
// makes physical pages of logical ones: a page ranks where the best of its parts does, and its mass is theirs.
#pragma once

#include <cstdint>
#include <vector>

#include "traces/trace_reader.h"

namespace retrosim {

class MergedPages {
 public:
  /// `factor` recorded pages make one.
  explicit MergedPages(int factor) : factor_(factor) {}

  /// The ranking of the larger pages; valid until the next call. All pages must be listed for the masses to be whole.
  HeadRanking merge(const HeadRanking& ranking) {
    if (factor_ == 1) return ranking;
    const std::int64_t num_pages = (ranking.num_pages + factor_ - 1) / factor_;
    place_.assign(static_cast<std::size_t>(num_pages), kUnlisted);
    pages_.clear();
    mass_.clear();
    for (std::size_t i = 0; i < ranking.pages.size(); ++i) {
      const PageId page = ranking.pages[i] / static_cast<PageId>(factor_);
      if (place_[page] == kUnlisted) {
        place_[page] = pages_.size();
        pages_.push_back(page);
        mass_.push_back(0);
      }
      mass_[place_[page]] += ranking.mass[i];
    }
    return {ranking.position, num_pages, pages_, mass_, ranking.rest};
  }

 private:
  static constexpr std::size_t kUnlisted = ~std::size_t{0};
  int factor_;
  std::vector<std::size_t> place_;
  std::vector<PageId> pages_;
  std::vector<float> mass_;
};

}  // namespace retrosim
