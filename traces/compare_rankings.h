// Two recordings of the same text, model and page size held against each other: how alike they rank pages.
#pragma once

#include <cstdint>

#include "traces/trace_reader.h"

namespace retrosim {

struct RankingComparison {
  std::int64_t steps = 0;    // that both have
  std::int64_t lists = 0;    // steps * layers that both recorded * KV heads
  double same_order = 0;     // share of the lists that are equal from the first page to the last
  double same_ranks = 0;     // share of ranks with the same page
  double top_k_overlap = 0;  // share of the k best pages of one that are among the k best of the other, over all lists
  double mass_difference = 0;  // mean over the lists of the summed absolute difference of the pages' masses
};

/// k is `budget` of each step's pages, rounded up. Throws InputError for traces of other shapes, or without a common
/// step or layer.
RankingComparison compare_rankings(const TraceReader& a, const TraceReader& b, double budget);

}  // namespace retrosim
