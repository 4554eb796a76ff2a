// Recorded selections (traces/recorded_selection.h) that drive a benchmark, and what a window finds unseen in them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/decode_config.h"
#include "traces/recorded_selection.h"

namespace retrosim::gpu_bench {

/// All steps that the traces have in common. Throws InputError for traces that do not fit `config`.
inline SelectionSchedule load_schedule(const std::vector<std::string>& files, const DecodeConfig& config) {
  std::vector<std::unique_ptr<TraceReader>> readers;
  std::vector<const TraceReader*> traces;
  std::int64_t steps = INT64_MAX;
  for (const std::string& file : files) {
    readers.push_back(std::make_unique<TraceReader>(file));
    traces.push_back(readers.back().get());
    steps = std::min(steps, readers.back()->num_steps());
  }
  return recorded_selection(traces, config, steps);
}

/// Position at which each page of one list was selected last before `step`, -1: never. [num_pages]
inline std::vector<std::int32_t> last_loaded_before(const SelectionSchedule& schedule, int layer, std::int64_t list,
                                                    std::int64_t step, std::int64_t num_pages) {
  const auto& of_layer = schedule.layers[static_cast<std::size_t>(layer)];
  std::vector<std::int32_t> last(static_cast<std::size_t>(num_pages), -1);
  for (std::int64_t i = 0; i < step; ++i) {
    const std::int64_t row = i * schedule.batch * schedule.num_kv_heads + list;
    for (std::int32_t j = 0; j < of_layer.counts[static_cast<std::size_t>(row)]; ++j) {
      const std::int32_t page = of_layer.pages[static_cast<std::size_t>(row * schedule.k_max + j)];
      last[static_cast<std::size_t>(page)] = static_cast<std::int32_t>(schedule.first_context + i - 1);
    }
  }
  return last;
}

/// Mean over sparse layers, lists and steps from `window` - 1 on: visits of older queries to pages that they have not
/// seen, per selected page.
inline double unseen_visits_per_page(const SelectionSchedule& schedule, int window, int page_size) {
  double visits = 0;
  double selected = 0;
  const std::int64_t lists = schedule.batch * schedule.num_kv_heads;
  const std::int64_t pages = (schedule.first_context + schedule.num_steps) / page_size + 1;
  for (const SelectionSchedule::Layer& layer : schedule.layers) {
    if (layer.counts.empty()) continue;
    std::vector<std::int64_t> last(static_cast<std::size_t>(lists * pages), -1);
    for (std::int64_t step = 0; step < schedule.num_steps; ++step) {
      const std::int64_t position = schedule.first_context + step - 1;
      for (std::int64_t list = 0; list < lists; ++list) {
        const std::int64_t row = step * lists + list;
        for (std::int32_t j = 0; j < layer.counts[static_cast<std::size_t>(row)]; ++j) {
          const std::int64_t page = layer.pages[static_cast<std::size_t>(row * schedule.k_max + j)];
          std::int64_t& loaded = last[static_cast<std::size_t>(list * pages + page)];
          if (step >= window - 1) {
            selected += 1;
            for (int age = 1; age < window; ++age) {
              visits += loaded < position - age && page * page_size <= position - age ? 1 : 0;
            }
          }
          loaded = position;
        }
      }
    }
  }
  return visits / selected;
}

}  // namespace retrosim::gpu_bench
