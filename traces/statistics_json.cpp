#include "traces/statistics_json.h"

#include <algorithm>

namespace retrosim {
namespace {

using Json = nlohmann::ordered_json;

/// {key: value} and, with intervals, low_95 and high_95; `prefix` tells several estimates of one object apart.
void put(Json& json, const std::string& key, const Estimate& estimate, bool intervals, const std::string& prefix = "") {
  json[key] = estimate.value;
  if (!intervals) return;
  json[prefix + "low_95"] = estimate.interval.low;
  json[prefix + "high_95"] = estimate.interval.high;
}

Json by_window(const std::vector<Estimate>& estimates, const std::vector<int>& windows, bool intervals,
               const char* index, int less, const char* key) {
  Json array = Json::array();
  for (std::size_t i = 0; i < windows.size(); ++i) {
    Json point{{index, windows[i] - less}};
    put(point, key, estimates[i], intervals);
    array.push_back(std::move(point));
  }
  return array;
}

/// Bins [1], [2], (2, 4], (4, 8], ... of a histogram over counts from 1.
Json binned(const std::vector<std::int64_t>& histogram, double visits, const char* from, const char* to) {
  Json bins = Json::array();
  for (std::size_t low = 1; low < histogram.size();) {
    const std::size_t high = low == 1 ? 1 : 2 * (low - 1);
    std::int64_t count = 0;
    for (std::size_t i = low; i <= std::min(high, histogram.size() - 1); ++i) count += histogram[i];
    bins.push_back({{from, low}, {to, high}, {"share", visits > 0 ? static_cast<double>(count) / visits : 0.0}});
    low = high + 1;
  }
  return bins;
}

Json reuse_json(const ReuseHistogram& reuse, double selected) {
  const auto visits = static_cast<double>(reuse.first_visits + reuse.revisits());
  Json json{{"visits", reuse.first_visits + reuse.revisits()},
            {"first_visit_share", visits > 0 ? static_cast<double>(reuse.first_visits) / visits : 0.0},
            {"age_steps_mean", reuse.mean_age()},
            {"stack_distance_pages_mean", reuse.mean_distance()},
            {"age_steps", binned(reuse.age, visits, "from", "to")},
            {"stack_distance_pages", binned(reuse.distance, visits, "from", "to")},
            {"lru_miss_ratio", Json::array()}};
  for (const double multiple : {1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0}) {
    json["lru_miss_ratio"].push_back({{"capacity_pages", multiple * selected},
                                      {"capacity_over_selected", multiple},
                                      {"miss_ratio", reuse.miss_ratio(multiple * selected)}});
  }
  return json;
}

void add_fields(Json& json, const LayerStatistics& layer, const TraceStatistics& all) {
  put(json, "overlap_topk", layer.overlap_topk, all.intervals, "overlap_topk_");
  if (layer.overlap_nextk) {
    put(json, "overlap_nextk", *layer.overlap_nextk, all.intervals, "overlap_nextk_");
  } else {
    json["overlap_nextk"] = nullptr;
  }
  json["exposure"] = by_window(layer.exposure, all.windows, all.intervals, "n", 1, "ratio");
  json["mass_recall"] = by_window(layer.mass_recall, all.windows, all.intervals, "window", 0, "mean");
  json["unseen_pages_mean"] = layer.unseen_pages_mean;
  json["selected_pages_mean"] = layer.selected_pages_mean;
  if (!layer.overlap_by_lag.empty()) {
    json["overlap_by_lag"] = Json::array();
    for (std::size_t i = 0; i < layer.overlap_by_lag.size(); ++i) {
      Json point{{"lag", i + 1}};
      put(point, "ratio", layer.overlap_by_lag[i], all.intervals);
      json["overlap_by_lag"].push_back(std::move(point));
    }
  }
  if (!layer.reuse.age.empty()) json["reuse"] = reuse_json(layer.reuse, layer.selected_pages_mean);
}

/// What the n-th later step brings, as two factors: how many pages, and how much mass each.
Json later_steps_json(const TraceStatistics& statistics) {
  const LayerStatistics& all = statistics.overall;
  Json steps = Json::array();
  double missing = 1 - all.mass_recall.front().value;  // of Quest, where window 1 was asked for
  for (std::size_t n = 0; n < all.new_pages.size(); ++n) {
    Json step{{"later_step", n + 1}};
    put(step, "new_pages_over_selected", all.new_pages[n], statistics.intervals, "new_pages_");
    put(step, "mass_gained", all.mass_gained[n], statistics.intervals, "mass_gained_");
    const double pages = all.new_pages[n].value * all.selected_pages_mean;
    step["mass_per_new_page"] = pages > 0 ? Json(all.mass_gained[n].value / pages) : Json(nullptr);
    if (statistics.windows[0] == 1) {
      step["share_of_missing_mass"] = missing > 0 ? Json(all.mass_gained[n].value / missing) : Json(nullptr);
      missing -= all.mass_gained[n].value;
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

}  // namespace

Json to_json(const TraceStatistics& statistics) {
  Json json;
  json["policy"] = statistics.policy;
  json["page_size_tokens"] = statistics.page_size;
  json["num_steps"] = statistics.num_steps;
  json["counted_steps"] = statistics.counted_steps;
  json["counted_queries"] = statistics.counted_queries;
  json["truncated"] = statistics.truncated;
  add_fields(json, statistics.overall, statistics);
  json["later_steps"] = later_steps_json(statistics);
  json["per_layer"] = Json::array();
  for (std::size_t i = 0; i < statistics.layers.size(); ++i) {
    Json layer = {{"layer", statistics.layers[i]}};
    add_fields(layer, statistics.per_layer[i], statistics);
    json["per_layer"].push_back(std::move(layer));
  }
  json["per_head"] = Json::array();
  for (const HeadStatistics& head : statistics.per_head) {
    json["per_head"].push_back({{"layer", head.layer},
                                {"head", head.head},
                                {"overlap_topk", head.overlap_topk},
                                {"exposure", head.exposure},
                                {"mass_recall", head.mass_recall},
                                {"mass_recall_retro", head.mass_recall_retro}});
  }
  return json;
}

Json to_json(const std::vector<BudgetPoint>& points, const std::vector<int>& windows, bool intervals) {
  Json json = Json::array();
  for (const BudgetPoint& point : points) {
    Json entry{{"budget", point.budget}, {"selected_pages_mean", point.selected_pages_mean}};
    put(entry, "overlap_topk", point.overlap_topk, intervals, "overlap_topk_");
    put(entry, "oracle_recall", point.oracle_recall, intervals, "oracle_recall_");
    entry["exposure"] = by_window(point.exposure, windows, intervals, "n", 1, "ratio");
    entry["mass_recall"] = by_window(point.mass_recall, windows, intervals, "window", 0, "mean");
    entry["served"] = Json::array();
    for (std::size_t i = 0; i < windows.size(); ++i) {
      Json served{{"tokens", windows[i]}};
      put(served, "mass_recall", point.served_recall[i], intervals);
      put(served, "pages_over_selected", point.served_pages[i], intervals, "pages_");
      entry["served"].push_back(std::move(served));
    }
    json.push_back(std::move(entry));
  }
  return json;
}

nlohmann::ordered_json trace_info_json(const TraceReader& trace) {
  trace.verify();
  const TraceHeader& header = trace.header();
  nlohmann::ordered_json json = {{"header", to_json(header)}};
  json["num_steps"] = trace.num_steps();
  json["num_chunks"] = trace.num_chunks();
  json["file_bytes"] = trace.file_bytes();
  json["ranked_entries"] = trace.num_entries();
  json["bytes_per_entry"] =
      trace.num_entries() > 0
          ? nlohmann::ordered_json(static_cast<double>(trace.file_bytes()) / static_cast<double>(trace.num_entries()))
          : nullptr;
  json["first_context_tokens"] = header.first_position + 1;
  json["last_context_tokens"] = header.first_position + trace.num_steps();
  json["truncated"] = trace.truncated();
  return json;
}

}  // namespace retrosim
