#include "traces/statistics.h"

#include <algorithm>

#include "model/decode_config.h"
#include "model/error.h"
#include "traces/parallel.h"
#include "traces/replay.h"

namespace retrosim {
namespace {

/// Sums over steps and heads; the statistics are ratios of these.
struct Sums {
  std::int64_t head_steps = 0;
  std::int64_t pages = 0;
  std::int64_t in_topk = 0;
  std::int64_t in_nextk = 0;
  bool nextk_known = true;
  std::vector<std::int64_t> unseen;  // [max_window]
  std::int64_t queries = 0;
  std::vector<double> recall;  // [max_window]

  explicit Sums(int max_window)
      : unseen(static_cast<std::size_t>(max_window)), recall(static_cast<std::size_t>(max_window)) {}

  void add(const HeadStep& step, bool counted) {
    if (counted) {
      ++head_steps;
      pages += step.pages_loaded;
      in_topk += step.in_previous_topk;
      nextk_known = nextk_known && step.in_previous_nextk >= 0;
      in_nextk += step.in_previous_nextk;
      for (std::size_t s = 0; s < unseen.size(); ++s) unseen[s] += step.unseen[s];
    }
    if (!step.retro_recall.empty()) {
      ++queries;
      for (std::size_t n = 0; n < recall.size(); ++n) recall[n] += step.retro_recall[n];
    }
  }

  void add(const Sums& other) {
    head_steps += other.head_steps;
    pages += other.pages;
    in_topk += other.in_topk;
    in_nextk += other.in_nextk;
    nextk_known = nextk_known && other.nextk_known;
    queries += other.queries;
    for (std::size_t i = 0; i < unseen.size(); ++i) {
      unseen[i] += other.unseen[i];
      recall[i] += other.recall[i];
    }
  }

  LayerStatistics statistics(const std::vector<int>& windows) const {
    const auto loaded = static_cast<double>(pages);
    LayerStatistics result;
    result.overlap_topk = static_cast<double>(in_topk) / loaded;
    if (nextk_known) result.overlap_nextk = static_cast<double>(in_nextk) / loaded;
    std::vector<std::int64_t> visits(unseen.size());  // sum_{1 <= s <= n} |U_s|
    for (std::size_t n = 1; n < unseen.size(); ++n) visits[n] = visits[n - 1] + unseen[n];
    result.unseen_pages_mean = static_cast<double>(visits.back()) / static_cast<double>(head_steps);
    result.selected_pages_mean = loaded / static_cast<double>(head_steps);
    for (const int window : windows) {
      const auto n = static_cast<std::size_t>(window - 1);
      result.exposure.push_back(1 + static_cast<double>(visits[n]) / loaded);
      result.mass_recall.push_back(recall[n] / static_cast<double>(queries));
    }
    return result;
  }
};

Sums replay_layer(const TraceReader& trace, int slot, const Policy& policy, int max_window) {
  Sums sums(max_window);
  LayerColumns columns;
  std::vector<HeadReplay> heads;
  for (int head = 0; head < trace.header().num_kv_heads; ++head) {
    heads.emplace_back(policy, trace.header().page_size, max_window, true);
  }
  const std::int64_t warm_up = std::max(max_window - 1, 1);
  for (std::int64_t chunk = 0; chunk < trace.num_chunks(); ++chunk) {
    trace.read_layer(chunk, slot, columns);
    for (std::size_t head = 0; head < heads.size(); ++head) {
      for (std::int64_t step = 0; step < columns.num_steps(); ++step) {
        const bool counted = columns.first_step() + step >= warm_up;
        sums.add(heads[head].advance(columns.at(step, static_cast<int>(head))), counted);
      }
    }
  }
  return sums;
}

void add_fields(nlohmann::ordered_json& json, const LayerStatistics& layer, const std::vector<int>& windows) {
  json["overlap_topk"] = layer.overlap_topk;
  json["overlap_nextk"] = layer.overlap_nextk ? nlohmann::ordered_json(*layer.overlap_nextk) : nullptr;
  json["exposure"] = nlohmann::ordered_json::array();
  json["mass_recall"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < windows.size(); ++i) {
    json["exposure"].push_back({{"n", windows[i] - 1}, {"ratio", layer.exposure[i]}});
    json["mass_recall"].push_back({{"window", windows[i]}, {"mean", layer.mass_recall[i]}});
  }
  json["unseen_pages_mean"] = layer.unseen_pages_mean;
  json["selected_pages_mean"] = layer.selected_pages_mean;
}

}  // namespace

TraceStatistics trace_statistics(const TraceReader& trace, const TraceStatisticsOptions& options) {
  int max_window = 1;
  for (const int window : options.windows) {
    if (window < 1 || window > kMaxWindow) {
      throw InputError("", "--windows", std::to_string(window), "windows in [1, " + std::to_string(kMaxWindow) + "]");
    }
    max_window = std::max(max_window, window);
  }
  if (options.windows.empty()) throw InputError("", "--windows", "none", "at least one window");
  const std::int64_t warm_up = std::max(max_window - 1, 1);
  if (trace.num_steps() <= warm_up) {
    throw InputError(trace.origin(), "", std::to_string(trace.num_steps()) + " steps",
                     "more than " + std::to_string(warm_up) + " for a window of " + std::to_string(max_window));
  }
  TraceStatistics result;
  result.policy = options.policy->name();
  result.windows = options.windows;
  result.num_steps = trace.num_steps();
  result.counted_steps = trace.num_steps() - warm_up;
  result.counted_queries = trace.num_steps() - (max_window - 1);
  result.truncated = trace.truncated();
  result.layers = trace.header().recorded_layers;

  std::vector<Sums> layers(result.layers.size(), Sums(max_window));
  for_each_parallel(static_cast<int>(layers.size()), options.threads, [&](int slot) {
    layers[static_cast<std::size_t>(slot)] = replay_layer(trace, slot, *options.policy, max_window);
  });
  Sums all(max_window);
  for (const Sums& layer : layers) {
    result.per_layer.push_back(layer.statistics(options.windows));
    all.add(layer);
  }
  result.overall = all.statistics(options.windows);
  return result;
}

nlohmann::ordered_json to_json(const TraceStatistics& statistics) {
  nlohmann::ordered_json json;
  json["policy"] = statistics.policy;
  json["num_steps"] = statistics.num_steps;
  json["counted_steps"] = statistics.counted_steps;
  json["counted_queries"] = statistics.counted_queries;
  json["truncated"] = statistics.truncated;
  add_fields(json, statistics.overall, statistics.windows);
  json["per_layer"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < statistics.layers.size(); ++i) {
    nlohmann::ordered_json layer = {{"layer", statistics.layers[i]}};
    add_fields(layer, statistics.per_layer[i], statistics.windows);
    json["per_layer"].push_back(std::move(layer));
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
