#include "traces/statistics.h"

#include <algorithm>

#include "model/decode_config.h"
#include "model/error.h"
#include "traces/each_ranking.h"
#include "traces/merged_pages.h"
#include "traces/parallel.h"
#include "traces/replay.h"
#include "traces/selection_lags.h"

namespace retrosim {
namespace {

/// Columns of a layer's StepSums.
struct Columns {
  int max_window;
  int max_lag;

  static constexpr std::size_t kPages = 0;  // of counted steps
  static constexpr std::size_t kHeadSteps = 1;
  static constexpr std::size_t kInTopk = 2;
  static constexpr std::size_t kInNextk = 3;
  static constexpr std::size_t kQueries = 4;
  static constexpr std::size_t kFixed = 5;
  std::size_t window() const { return static_cast<std::size_t>(max_window); }
  std::size_t unseen(int s) const { return kFixed + static_cast<std::size_t>(s); }
  std::size_t visits(int n) const { return kFixed + window() + static_cast<std::size_t>(n); }  // sum_{s<=n} |U_s|
  std::size_t recall(int n) const { return kFixed + 2 * window() + static_cast<std::size_t>(n); }
  std::size_t gained(int n) const { return kFixed + 3 * window() + static_cast<std::size_t>(n); }
  std::size_t shared(int lag) const { return kFixed + 4 * window() + static_cast<std::size_t>(lag - 1); }
  std::size_t lagged(int lag) const { return shared(lag) + static_cast<std::size_t>(max_lag); }  // sum of |S_t|
  std::size_t count() const { return kFixed + 4 * window() + 2 * static_cast<std::size_t>(max_lag); }
};

struct LayerSums {
  StepSums sums;
  ReuseHistogram reuse;
  bool nextk_known = true;
  std::vector<HeadStatistics> heads;
};

/// One KV head on its way through the steps.
class HeadPass {
 public:
  HeadPass(const TraceStatisticsOptions& options, const Columns& columns, int page_size, std::int64_t num_steps)
      : columns_(columns),
        merge_(options.merged_pages),
        replay_(*options.policy, page_size * options.merged_pages, columns.max_window, true),
        lags_(columns.max_lag),
        reuse_(options.reuse ? num_steps : 0),
        with_reuse_(options.reuse),
        own_(1, columns.count()) {}

  void advance(const HeadRanking& ranking, std::int64_t step, LayerSums& layer) {
    const HeadStep& now = replay_.advance(merge_.merge(ranking));
    const auto add = [&](std::size_t column, double value) {
      layer.sums.add(step, column, value);
      own_.add(0, column, value);
    };
    if (step >= std::max(columns_.max_window - 1, 1)) {
      add(Columns::kPages, static_cast<double>(now.pages_loaded));
      add(Columns::kHeadSteps, 1);
      add(Columns::kInTopk, static_cast<double>(now.in_previous_topk));
      add(Columns::kInNextk, static_cast<double>(now.in_previous_nextk));
      layer.nextk_known = layer.nextk_known && now.in_previous_nextk >= 0;
      double visits = 0;
      for (int s = 1; s < columns_.max_window; ++s) {
        const auto unseen = static_cast<double>(now.unseen[static_cast<std::size_t>(s)]);
        visits += unseen;
        add(columns_.unseen(s), unseen);
        add(columns_.visits(s), visits);
      }
    }
    if (!now.retro_recall.empty()) {
      add(Columns::kQueries, 1);
      for (int n = 0; n < columns_.max_window; ++n) {
        const double recall = now.retro_recall[static_cast<std::size_t>(n)];
        add(columns_.recall(n), recall);
        if (n > 0) add(columns_.gained(n), recall - now.retro_recall[static_cast<std::size_t>(n - 1)]);
      }
    }
    if (columns_.max_lag > 0) {
      int lag = 0;
      for (const std::int64_t shared : lags_.advance(replay_.selected())) {
        ++lag;
        layer.sums.add(step, columns_.shared(lag), static_cast<double>(shared));
        layer.sums.add(step, columns_.lagged(lag), static_cast<double>(now.pages_loaded));
      }
    }
    if (with_reuse_) reuse_.advance(replay_.selected());
  }

  void finish(int layer, int head, LayerSums& into) const {
    into.reuse.add(reuse_.histogram());
    const int last = columns_.max_window - 1;
    into.heads.push_back({.layer = layer,
                          .head = head,
                          .overlap_topk = own_.ratio(Columns::kInTopk, Columns::kPages),
                          .exposure = 1 + (last > 0 ? own_.ratio(columns_.visits(last), Columns::kPages) : 0),
                          .mass_recall = own_.ratio(columns_.recall(0), Columns::kQueries),
                          .mass_recall_retro = own_.ratio(columns_.recall(last), Columns::kQueries)});
  }

 private:
  Columns columns_;
  MergedPages merge_;
  HeadReplay replay_;
  SelectionLags lags_;
  ReuseTracker reuse_;
  bool with_reuse_;
  StepSums own_;  // one row
};

LayerSums replay_layer(const TraceReader& trace, int slot, const TraceStatisticsOptions& options,
                       const Columns& columns, std::int64_t num_steps) {
  LayerSums sums{.sums = StepSums(num_steps, columns.count()), .reuse = {}, .heads = {}};
  const TraceHeader& header = trace.header();
  std::vector<HeadPass> heads;
  for (int head = 0; head < header.num_kv_heads; ++head) {
    heads.emplace_back(options, columns, header.page_size, num_steps);
  }
  for_each_ranking(trace, slot, options.first_step, num_steps,
                   [&](int head, std::int64_t step, const HeadRanking& ranking) {
                     heads[static_cast<std::size_t>(head)].advance(ranking, step, sums);
                   });
  const int layer = header.recorded_layers[static_cast<std::size_t>(slot)];
  for (std::size_t head = 0; head < heads.size(); ++head) heads[head].finish(layer, static_cast<int>(head), sums);
  return sums;
}

LayerStatistics statistics_of(const LayerSums& layer, const Columns& columns, const TraceStatisticsOptions& options) {
  const StepSums& sums = layer.sums;
  const auto ratio = [&](std::size_t numerator, std::size_t denominator) {
    return options.intervals ? sums.estimate(numerator, denominator, options.bootstrap)
                             : Estimate{sums.ratio(numerator, denominator), {}};
  };
  LayerStatistics result;
  result.overlap_topk = ratio(Columns::kInTopk, Columns::kPages);
  if (layer.nextk_known) result.overlap_nextk = ratio(Columns::kInNextk, Columns::kPages);
  const int last = columns.max_window - 1;
  result.unseen_pages_mean = last > 0 ? sums.ratio(columns.visits(last), Columns::kHeadSteps) : 0;
  result.selected_pages_mean = sums.ratio(Columns::kPages, Columns::kHeadSteps);
  for (const int window : options.windows) {
    Estimate exposure = window > 1 ? ratio(columns.visits(window - 1), Columns::kPages) : Estimate{};
    exposure.value += 1;
    exposure.interval.low += 1;
    exposure.interval.high += 1;
    result.exposure.push_back(exposure);
    result.mass_recall.push_back(ratio(columns.recall(window - 1), Columns::kQueries));
  }
  for (int n = 1; n <= last; ++n) {
    result.new_pages.push_back(ratio(columns.unseen(n), Columns::kPages));
    result.mass_gained.push_back(ratio(columns.gained(n), Columns::kQueries));
  }
  for (int lag = 1; lag <= columns.max_lag; ++lag) {
    result.overlap_by_lag.push_back(ratio(columns.shared(lag), columns.lagged(lag)));
  }
  result.reuse = layer.reuse;
  return result;
}

}  // namespace

std::int64_t steps_for_windows(const TraceReader& trace, const TraceStatisticsOptions& options) {
  int max_window = 1;
  for (const int window : options.windows) {
    if (window < 1 || window > kMaxWindow) {
      throw InputError("", "--windows", std::to_string(window), "windows in [1, " + std::to_string(kMaxWindow) + "]");
    }
    max_window = std::max(max_window, window);
  }
  if (options.windows.empty()) throw InputError("", "--windows", "none", "at least one window");
  const std::int64_t warm_up = std::max(max_window - 1, 1);
  const std::int64_t available = std::max<std::int64_t>(trace.num_steps() - options.first_step, 0);
  const std::int64_t steps = options.num_steps > 0 ? std::min(options.num_steps, available) : available;
  if (steps <= warm_up) {
    throw InputError(trace.origin(), "", std::to_string(steps) + " steps",
                     "more than " + std::to_string(warm_up) + " for a window of " + std::to_string(max_window));
  }
  return steps;
}

TraceStatistics trace_statistics(const TraceReader& trace, const TraceStatisticsOptions& options) {
  const std::int64_t steps = steps_for_windows(trace, options);
  if (options.merged_pages > 1 && trace.header().top_m != 0) {
    throw InputError(trace.origin(), "top_m_pages", std::to_string(trace.header().top_m),
                     "a trace that lists all pages: larger pages are merged of them");
  }
  const Columns columns{.max_window = *std::max_element(options.windows.begin(), options.windows.end()),
                        .max_lag = static_cast<int>(std::min<std::int64_t>(options.max_lag, steps - 1))};
  TraceStatistics result;
  result.policy = options.policy->name();
  result.windows = options.windows;
  result.num_steps = steps;
  result.counted_steps = steps - std::max(columns.max_window - 1, 1);
  result.counted_queries = steps - (columns.max_window - 1);
  result.truncated = trace.truncated();
  result.page_size = trace.header().page_size * options.merged_pages;
  result.intervals = options.intervals;
  result.layers = trace.header().recorded_layers;

  // A layer's sums are added up and dropped at once: with many layers, steps and lags they are most of the memory.
  LayerSums all{.sums = StepSums(steps, columns.count()), .reuse = {}, .heads = {}};
  result.per_layer.resize(result.layers.size());
  for_each_parallel_in_order(
      static_cast<int>(result.layers.size()), options.threads,
      [&](int slot) {
        LayerSums layer = replay_layer(trace, slot, options, columns, steps);
        result.per_layer[static_cast<std::size_t>(slot)] = statistics_of(layer, columns, options);
        return layer;
      },
      [&](int, const LayerSums& layer) {
        all.sums.add(layer.sums);
        all.reuse.add(layer.reuse);
        all.nextk_known = all.nextk_known && layer.nextk_known;
        result.per_head.insert(result.per_head.end(), layer.heads.begin(), layer.heads.end());
      });
  result.overall = statistics_of(all, columns, options);
  return result;
}

}  // namespace retrosim
