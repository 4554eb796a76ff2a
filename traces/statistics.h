// What a trace says about a policy: how much successive selections overlap, how soon pages return, what retrospection
// finds unseen, and how much attention mass the selection catches.
//
// S_t is the selection of step t, one KV head of one layer; |S_t| = k. Ratios are ratios of sums over steps, KV heads
// and (in `overall`) recorded layers, so steps weigh by the pages they load. Intervals are 95 %, by a circular block
// bootstrap over steps (block_bootstrap.h): they speak of other stretches of the same text, not of other texts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/policy.h"
#include "traces/block_bootstrap.h"
#include "traces/reuse_distance.h"
#include "traces/step_sums.h"
#include "traces/trace_reader.h"

namespace retrosim {

struct TraceStatisticsOptions {
  std::shared_ptr<const Policy> policy;
  std::vector<int> windows = {1, 2, 4, 8, 16};  // each in [1, kMaxWindow]
  int threads = 1;
  bool intervals = false;           // bootstrap them; otherwise they are [0, 0]
  BootstrapOptions bootstrap = {};  // used with `intervals`
  int max_lag = 0;                  // overlap by lag 1..max_lag, cut to the steps there are
  bool reuse = false;               // reuse distances
  int merged_pages = 1;             // so many recorded pages make one (merged_pages.h)
  std::int64_t first_step = 0;      // of the trace, as if the recording began there
  std::int64_t num_steps = 0;       // from first_step; 0: to the end
};

/// With w the largest window asked for, the first max(w-1, 1) recorded steps only warm up: every older query of a
/// counted step was recorded. Overlap by lag and reuse distances count every step.
struct LayerStatistics {
  Estimate overlap_topk;                  // share of S_t that was in S_{t-1}
  std::optional<Estimate> overlap_nextk;  // share that ranked k+1..2k at t-1; none where the trace lists fewer
  double unseen_pages_mean = 0;           // sum_s |U_s| at the largest window, per step and head
  double selected_pages_mean = 0;         // |S_t|
  std::vector<Estimate> exposure;         // [windows]: 1 + sum_{s<w} |U_s| / k
  std::vector<Estimate> mass_recall;      // [windows]: share of a query's attention mass on S_t u .. u S_{t+w-1}
  std::vector<Estimate> overlap_by_lag;   // [max_lag]: share of S_t that was in S_{t-lag}, over steps t >= lag
  /// [largest window - 1], n = 1, 2, ...: what the n-th later step brings a query, whose sum saturates.
  std::vector<Estimate> new_pages;    // |U_n| / k
  std::vector<Estimate> mass_gained;  // share of the query's mass on U_n
  ReuseHistogram reuse;               // empty unless asked for
};

/// One KV head of one recorded layer.
struct HeadStatistics {
  int layer = 0;
  int head = 0;
  double overlap_topk = 0;
  double exposure = 0;           // at the largest window
  double mass_recall = 0;        // without retrospection
  double mass_recall_retro = 0;  // at the largest window
};

struct TraceStatistics {
  std::string policy;
  std::vector<int> windows;
  std::int64_t num_steps = 0;        // replayed
  std::int64_t counted_steps = 0;    // of them, for overlap and exposure
  std::int64_t counted_queries = 0;  // for recall: queries followed by w-1 more steps
  bool truncated = false;
  int page_size = 0;
  bool intervals = false;
  LayerStatistics overall;
  std::vector<int> layers;                 // [recorded layers]
  std::vector<LayerStatistics> per_layer;  // [recorded layers]
  std::vector<HeadStatistics> per_head;    // [recorded layers][KV heads]
};

/// Replays the trace once for all windows. Throws InputError when it is damaged, too short for the windows, or lists
/// too few pages for the budget, or not all where pages are to be merged.
TraceStatistics trace_statistics(const TraceReader& trace, const TraceStatisticsOptions& options);

/// Throws InputError unless there is a window, each is in [1, kMaxWindow], and more steps than they warm up. Returns
/// the steps to replay.
std::int64_t steps_for_windows(const TraceReader& trace, const TraceStatisticsOptions& options);

}  // namespace retrosim
