#include <algorithm>

#include "reports/format.h"
#include "reports/table.h"
#include "reports/trace_stats.h"

namespace retrosim {
namespace {

using Row = std::vector<std::string>;

std::string with_interval(const Estimate& estimate, int decimals) {
  return fixed(estimate.value, decimals) + " (" + fixed(estimate.interval.low, decimals) + " - " +
         fixed(estimate.interval.high, decimals) + ")";
}

void append_windows(Row& headers, const std::string& what, const std::vector<int>& windows) {
  for (const int window : windows) headers.push_back(what + " w=" + std::to_string(window));
}

Row row_of(const std::string& name, const LayerStatistics& statistics) {
  Row row = {name, fixed(statistics.overlap_topk.value, 3),
             statistics.overlap_nextk ? fixed(statistics.overlap_nextk->value, 3) : "n/a",
             fixed(statistics.unseen_pages_mean, 1)};
  for (const Estimate& ratio : statistics.exposure) row.push_back(fixed(ratio.value, 3));
  for (const Estimate& mass : statistics.mass_recall) row.push_back(fixed(mass.value, 3));
  return row;
}

std::string layers_table(const TraceStatistics& statistics) {
  Row headers = {"layer", "in prev top-k", "in prev next-k", "unseen"};
  append_windows(headers, "exposure", statistics.windows);
  append_windows(headers, "recall", statistics.windows);
  Table table(headers);
  for (std::size_t i = 0; i < statistics.layers.size(); ++i) {
    table.add(row_of(std::to_string(statistics.layers[i]), statistics.per_layer[i]));
  }
  table.add(row_of("all", statistics.overall));
  return table.to_text() +
         "\nexposure w: pages a query has seen after w-1 later steps, relative to its own; recall w: attention mass on "
         "them\n";
}

std::string intervals_table(const TraceStatistics& statistics) {
  Table table({"window", "exposure", "recall"});
  for (std::size_t i = 0; i < statistics.windows.size(); ++i) {
    table.add({std::to_string(statistics.windows[i]), with_interval(statistics.overall.exposure[i], 3),
               with_interval(statistics.overall.mass_recall[i], 4)});
  }
  return "all layers, with 95 % intervals; in prev top-k " + with_interval(statistics.overall.overlap_topk, 4) +
         (statistics.overall.overlap_nextk ? ", next-k " + with_interval(*statistics.overall.overlap_nextk, 4) : "") +
         "\n" + table.to_text();
}

std::string lags_table(const TraceStatistics& statistics) {
  const std::vector<Estimate>& lags = statistics.overall.overlap_by_lag;
  if (lags.empty()) return "";
  Table table({"lag", "overlap", "layers: least", "most"});
  for (std::size_t lag = 1; lag <= lags.size(); lag *= 2) {
    double least = 1;
    double most = 0;
    for (const LayerStatistics& layer : statistics.per_layer) {
      least = std::min(least, layer.overlap_by_lag[lag - 1].value);
      most = std::max(most, layer.overlap_by_lag[lag - 1].value);
    }
    table.add({std::to_string(lag), with_interval(lags[lag - 1], 4), fixed(least, 3), fixed(most, 3)});
  }
  return "share of a step's pages that were selected `lag` steps before\n" + table.to_text();
}

std::string reuse_table(const LayerStatistics& all) {
  const ReuseHistogram& reuse = all.reuse;
  if (reuse.age.empty()) return "";
  Table table({"cache, pages", "over selected", "LRU misses"});
  for (const double multiple : {1.0, 1.5, 2.0, 3.0, 4.0}) {
    const double capacity = multiple * all.selected_pages_mean;
    table.add({fixed(capacity, 0), fixed(multiple, 1), fixed(reuse.miss_ratio(capacity), 4)});
  }
  return "reuse of pages: last selected " + fixed(reuse.mean_age(), 2) + " steps and " +
         fixed(reuse.mean_distance(), 1) + " pages (stack distance) ago on average; misses of an LRU cache\n" +
         table.to_text();
}

std::string later_steps_table(const TraceStatistics& statistics) {
  const LayerStatistics& all = statistics.overall;
  if (all.new_pages.empty()) return "";
  Table table({"later step", "new pages / k", "mass gained", "mass per new page / per own page"});
  const double own = all.mass_recall.front().value;
  for (std::size_t n = 0; n < all.new_pages.size(); ++n) {
    const double pages = all.new_pages[n].value;
    table.add({std::to_string(n + 1), with_interval(all.new_pages[n], 4), with_interval(all.mass_gained[n], 5),
               pages > 0 && own > 0 ? fixed(all.mass_gained[n].value / pages / own, 3) : "n/a"});
  }
  return "what the n-th later step brings a query\n" + table.to_text();
}

std::string heads_table(const TraceStatistics& statistics) {
  Table table({"over KV heads", "least", "10 %", "median", "90 %", "most"});
  const auto add = [&](const std::string& name, double HeadStatistics::*member) {
    std::vector<double> values;
    for (const HeadStatistics& head : statistics.per_head) values.push_back(head.*member);
    std::sort(values.begin(), values.end());
    Row row = {name};
    for (const double share : {0.0, 0.1, 0.5, 0.9, 1.0}) {
      row.push_back(fixed(values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5)], 3));
    }
    table.add(row);
  };
  const std::string last = std::to_string(statistics.windows.back());
  add("in prev top-k", &HeadStatistics::overlap_topk);
  add("exposure w=" + last, &HeadStatistics::exposure);
  add("recall w=1", &HeadStatistics::mass_recall);
  add("recall w=" + last, &HeadStatistics::mass_recall_retro);
  return table.to_text();
}

std::string budgets_tables(const TraceStatsAnswer& answer) {
  if (answer.budgets.empty()) return "";
  const std::vector<int>& windows = answer.request.windows;
  Row headers = {"budget", "pages", "in prev top-k", "exposure w=" + std::to_string(windows.back())};
  append_windows(headers, "recall", windows);
  headers.push_back("oracle");
  Table table(headers);
  Row served_headers = {"budget"};
  for (const int window : windows) {
    if (window == 1) continue;
    served_headers.push_back("recall n=" + std::to_string(window));
    served_headers.push_back("pages / k");
  }
  Table served(served_headers);
  for (const BudgetPoint& point : answer.budgets) {
    Row row = {fixed(point.budget, 3), fixed(point.selected_pages_mean, 1), fixed(point.overlap_topk.value, 3),
               fixed(point.exposure.back().value, 3)};
    for (const Estimate& recall : point.mass_recall) row.push_back(fixed(recall.value, 4));
    row.push_back(fixed(point.oracle_recall.value, 4));
    table.add(row);
    Row served_row = {fixed(point.budget, 3)};
    for (std::size_t i = 0; i < windows.size(); ++i) {
      if (windows[i] == 1) continue;
      served_row.push_back(fixed(point.served_recall[i].value, 4));
      served_row.push_back(fixed(point.served_pages[i].value, 3));
    }
    served.add(served_row);
  }
  std::string text =
      "\nall budgets, from one pass; oracle: as many pages, those with the most attention mass\n" + table.to_text();
  if (windows.size() > 1) {
    text += "\nthe selections of the last n tokens serve the current one: recall, and pages read relative to k\n" +
            served.to_text();
  }
  return text;
}

std::string page_sizes_table(const TraceStatsAnswer& answer) {
  if (answer.page_sizes.empty()) return "";
  Row headers = {"page size", "pages", "in prev top-k"};
  append_windows(headers, "exposure", {answer.request.windows.back()});
  append_windows(headers, "recall", answer.request.windows);
  Table table(headers);
  const auto add = [&](const TraceStatistics& statistics) {
    const LayerStatistics& all = statistics.overall;
    Row row = {std::to_string(statistics.page_size), fixed(all.selected_pages_mean, 1),
               fixed(all.overlap_topk.value, 3), fixed(all.exposure.back().value, 3)};
    for (const Estimate& recall : all.mass_recall) row.push_back(fixed(recall.value, 4));
    table.add(row);
  };
  add(answer.statistics);
  for (const TraceStatistics& statistics : answer.page_sizes) add(statistics);
  return "\nlarger pages merged of recorded ones (ranked as their best part, LServe's hierarchical paging)\n" +
         table.to_text();
}

}  // namespace

std::string trace_stats_text(const TraceStatsAnswer& answer) {
  const TraceStatistics& statistics = answer.statistics;
  std::string text = answer.request.file + ": " + statistics.policy + ", " + std::to_string(statistics.counted_steps) +
                     " of " + std::to_string(statistics.num_steps) + " steps counted\n\n" + layers_table(statistics);
  for (const std::string& part : {intervals_table(statistics), lags_table(statistics), reuse_table(statistics.overall),
                                  later_steps_table(statistics), heads_table(statistics)}) {
    if (!part.empty()) text += "\n" + part;
  }
  return text + budgets_tables(answer) + page_sizes_table(answer);
}

}  // namespace retrosim
