#include "traces/recorded_selection.h"

#include <algorithm>
#include <string>

#include "model/error.h"

namespace retrosim {
namespace {

/// How recorded pages stand for pages of the longer context.
struct PageMap {
  std::int64_t full_pages = 0;  // when the recording starts
  std::int64_t copies = 1;      // that each of them stands for

  std::int64_t num_pages(std::int64_t recorded) const { return recorded + full_pages * (copies - 1); }

  void expand(std::span<const PageId> recorded, std::vector<PageId>& out) const {
    out.clear();
    for (const PageId page : recorded) {
      if (page < full_pages) {
        for (std::int64_t i = 0; i < copies; ++i) out.push_back(static_cast<PageId>(page + i * full_pages));
      } else {
        out.push_back(static_cast<PageId>(page + full_pages * (copies - 1)));
      }
    }
  }
};

struct RecordedList {
  const TraceReader* trace;
  int slot;
  int head;
};

std::vector<RecordedList> recorded_lists(std::span<const TraceReader* const> traces, const DecodeConfig& config) {
  std::vector<RecordedList> lists;
  for (const TraceReader* trace : traces) {
    const TraceHeader& header = trace->header();
    for (std::size_t slot = 0; slot < header.recorded_layers.size(); ++slot) {
      if (header.recorded_layers[slot] < config.dense_layers) continue;
      for (int head = 0; head < header.num_kv_heads; ++head) lists.push_back({trace, static_cast<int>(slot), head});
    }
  }
  return lists;
}

void check(std::span<const TraceReader* const> traces, const DecodeConfig& config, std::int64_t num_steps) {
  if (traces.empty()) throw InputError("", "traces", "none", "at least one");
  for (const TraceReader* trace : traces) {
    const TraceHeader& header = trace->header();
    const auto fail = [&](const char* field, std::int64_t value, const std::string& expectation) {
      throw InputError(trace->origin(), field, std::to_string(value), expectation);
    };
    if (header.page_size != config.page_size)
      fail("page_size", header.page_size, "the decode's " + std::to_string(config.page_size));
    const std::int64_t first = traces.front()->header().first_position;
    if (header.first_position != first)
      fail("first_position", header.first_position, "that of the other traces, " + std::to_string(first));
    if (trace->num_steps() < num_steps) fail("steps", trace->num_steps(), "at least " + std::to_string(num_steps));
    if (first + 1 > config.context)
      fail("first_position", first, "less than the decode's context of " + std::to_string(config.context) + " tokens");
  }
}

/// One recorded list's selections: `store(step, pages)` with ascending pages of the longer context.
template <class Store>
void replay_list(const RecordedList& list, const DecodeConfig& config, const PageMap& map, std::int64_t num_steps,
                 Store&& store) {
  LayerColumns columns;
  SelectionMemory memory;
  std::vector<PageId> expanded;
  std::vector<PageId> selected;
  std::int64_t in_chunk = -1;
  for (std::int64_t step = 0; step < num_steps; ++step) {
    const std::int64_t chunk = list.trace->chunk_of_step(step);
    if (chunk != in_chunk) list.trace->read_layer(chunk, list.slot, columns);
    in_chunk = chunk;
    const HeadRanking ranking = columns.at(step - columns.first_step(), list.head);
    map.expand(ranking.pages, expanded);
    config.policy->select_next({.pages = expanded, .num_pages = map.num_pages(ranking.num_pages)}, config.page_size,
                               memory, selected);
    std::sort(selected.begin(), selected.end());
    store(step, selected);
  }
}

}  // namespace

SelectionSchedule recorded_selection(std::span<const TraceReader* const> traces, const DecodeConfig& config,
                                     std::int64_t num_steps) {
  check(traces, config, num_steps);
  const std::vector<RecordedList> recorded = recorded_lists(traces, config);
  if (recorded.empty()) {
    throw InputError(traces.front()->origin(), "recorded_layers", "none that is sparse",
                     "a layer from " + std::to_string(config.dense_layers) + " on");
  }
  const std::int64_t recorded_context = traces.front()->header().first_position + 1;
  const PageMap map{.full_pages = (recorded_context - 1) / config.page_size,
                    .copies = config.context / recorded_context};
  const std::int64_t added_pages = map.num_pages(0);

  SelectionSchedule schedule{.first_context = recorded_context + added_pages * config.page_size,
                             .num_steps = num_steps,
                             .batch = config.batch,
                             .num_kv_heads = config.llm.num_kv_heads};
  for (std::int64_t step = 0; step < num_steps; ++step) {
    const std::int64_t pages = map.num_pages(traces.front()->header().num_pages(recorded_context - 1 + step));
    schedule.k_max = std::max(schedule.k_max, config.policy->pages_selected(pages, config.page_size));
  }

  std::vector<int> sparse_layers;
  schedule.layers.resize(static_cast<std::size_t>(config.llm.num_layers));
  const std::int64_t lists = schedule.batch * schedule.num_kv_heads;
  for (int layer = 0; layer < config.llm.num_layers; ++layer) {
    if (!config.is_sparse(layer)) continue;
    sparse_layers.push_back(layer);
    SelectionSchedule::Layer& into = schedule.layers[static_cast<std::size_t>(layer)];
    into.pages.assign(static_cast<std::size_t>(num_steps * lists * schedule.k_max), 0);
    into.counts.assign(static_cast<std::size_t>(num_steps * lists), 0);
  }
  const auto num_sparse = static_cast<std::int64_t>(sparse_layers.size());
  const std::int64_t num_lists = schedule.batch * num_sparse * schedule.num_kv_heads;
  for (std::size_t r = 0; r < recorded.size(); ++r) {
    replay_list(recorded[r], config, map, num_steps, [&](std::int64_t step, const std::vector<PageId>& pages) {
      for (auto n = static_cast<std::int64_t>(r); n < num_lists; n += static_cast<std::int64_t>(recorded.size())) {
        const std::int64_t head = n % schedule.num_kv_heads;
        const std::int64_t sparse = n / schedule.num_kv_heads % num_sparse;
        const std::int64_t sequence = n / schedule.num_kv_heads / num_sparse;
        auto& into = schedule.layers[static_cast<std::size_t>(sparse_layers[static_cast<std::size_t>(sparse)])];
        const std::int64_t row = (step * schedule.batch + sequence) * schedule.num_kv_heads + head;
        into.counts[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(pages.size());
        std::copy(pages.begin(), pages.end(), into.pages.begin() + row * schedule.k_max);
      }
    });
  }
  return schedule;
}

}  // namespace retrosim
