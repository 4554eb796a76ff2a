// What a trace says about a policy: how much successive selections overlap, what retrospection finds unseen, and how
// much attention mass the selection catches.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/policy.h"
#include "traces/trace_reader.h"

namespace retrosim {

struct TraceStatisticsOptions {
  std::shared_ptr<const Policy> policy;
  std::vector<int> windows = {1, 2, 4, 8, 16};  // each in [1, kMaxWindow]
  int threads = 1;
};

/// Means over steps, KV heads and (in `overall`) recorded layers. With w the largest window asked for, the first
/// max(w-1, 1) recorded steps only warm up: every older query of a counted step was recorded. Ratios are ratios of
/// sums, so steps weigh by the pages they load.
struct LayerStatistics {
  double overlap_topk = 0;              // share of S_t that was in S_{t-1}
  std::optional<double> overlap_nextk;  // share that ranked k+1..2k at t-1; none where the trace lists fewer
  double unseen_pages_mean = 0;         // sum_s |U_s| at the largest window, per step and head
  double selected_pages_mean = 0;       // |S_t|
  std::vector<double> exposure;         // [windows]: 1 + sum_{s<w} |U_s| / k
  std::vector<double> mass_recall;      // [windows]: share of a query's attention mass on S_t u .. u S_{t+w-1}
};

struct TraceStatistics {
  std::string policy;
  std::vector<int> windows;
  std::int64_t num_steps = 0;        // in the trace
  std::int64_t counted_steps = 0;    // of them, for overlap and exposure
  std::int64_t counted_queries = 0;  // for recall: queries followed by w-1 more steps
  bool truncated = false;
  LayerStatistics overall;
  std::vector<int> layers;                 // [recorded layers]
  std::vector<LayerStatistics> per_layer;  // [recorded layers]
};

/// Replays the whole trace once for all windows. Throws InputError when it is damaged, too short for the windows, or
/// lists too few pages for the budget.
TraceStatistics trace_statistics(const TraceReader& trace, const TraceStatisticsOptions& options);

/// The fields of `trace stats --json` below its schema and inputs: overlap_topk, overlap_nextk, exposure [{n, ratio}],
/// mass_recall [{window, mean}], unseen_pages_mean, selected_pages_mean, per_layer [{layer, ...}], and the counts.
nlohmann::ordered_json to_json(const TraceStatistics& statistics);

/// The fields of `trace info --json`: the header's, then num_steps, num_chunks, file_bytes, ranked_entries,
/// bytes_per_entry, first_context_tokens, last_context_tokens, truncated. Verifies every checksum.
nlohmann::ordered_json trace_info_json(const TraceReader& trace);

}  // namespace retrosim
