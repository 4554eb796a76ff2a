// Trace statistics as JSON.
#pragma once

#include <nlohmann/json.hpp>

#include "traces/budget_statistics.h"
#include "traces/statistics.h"

namespace retrosim {

/// The fields of `trace stats --json` below its schema and inputs: overlap_topk, overlap_nextk, exposure [{n, ratio}],
/// mass_recall [{window, mean}], unseen_pages_mean, selected_pages_mean, the same per_layer [{layer, ...}], and the
/// counts; where they were asked for overlap_by_lag [{lag, ratio}] and reuse. Then later_steps [{later_step, ...}] and
/// per_head [{layer, head, ...}]. With intervals every estimate has low_95 and high_95 beside it.
nlohmann::ordered_json to_json(const TraceStatistics& statistics);

/// [{budget, selected_pages_mean, overlap_topk, oracle_recall, exposure, mass_recall, served}].
nlohmann::ordered_json to_json(const std::vector<BudgetPoint>& points, const std::vector<int>& windows, bool intervals);

/// The fields of `trace info --json`: the header's, then num_steps, num_chunks, file_bytes, ranked_entries,
/// bytes_per_entry, first_context_tokens, last_context_tokens, truncated. Verifies every checksum.
nlohmann::ordered_json trace_info_json(const TraceReader& trace);

}  // namespace retrosim
