// Policies that rank pages by score at every step and may return to one that they skipped; inside model/policies/.
#pragma once

#include <vector>

#include "model/policy.h"

namespace retrosim {

class RankingPolicy : public Policy {
 public:
  std::int64_t pages_selected(std::int64_t num_pages, int page_size) const override {
    return pages_in_budget(params(), num_pages, page_size);
  }
  bool can_return_to_skipped_pages() const final { return true; }
  bool selects_by_score() const final { return true; }
  void select(const RankedPages& ranked, int page_size, std::vector<PageId>& out) const override {
    SelectionMemory memory;
    select_next(ranked, page_size, memory, out);
  }

 protected:
  explicit RankingPolicy(const PolicyParams& params) : Policy(params) {}
};

}  // namespace retrosim
