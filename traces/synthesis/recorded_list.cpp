#include "traces/synthesis/recorded_list.h"

#include "model/error.h"

namespace retrosim {

std::vector<RecordedList> recorded_lists_of(const TraceReader& trace, int slot, std::int64_t first_step,
                                            std::int64_t num_steps) {
  const TraceHeader& header = trace.header();
  RecordedList empty;
  empty.page_size = header.page_size;
  empty.first_position = header.first_position + first_step;
  empty.num_steps = num_steps;
  empty.max_pages = header.num_pages(empty.first_position + num_steps - 1);
  if (header.top_m != 0) {
    throw InputError(trace.origin(), "top_m_pages", std::to_string(header.top_m), "0: a trace that lists all pages");
  }
  if (empty.max_pages > 65535) {
    throw InputError(trace.origin(), "pages", std::to_string(empty.max_pages), "at most 65535 to fit a model to");
  }
  empty.rank.resize(static_cast<std::size_t>(num_steps * empty.max_pages));
  empty.mass.resize(empty.rank.size());
  std::vector<RecordedList> lists(static_cast<std::size_t>(header.num_kv_heads), empty);
  LayerColumns columns;
  for (std::int64_t chunk = trace.chunk_of_step(first_step); chunk < trace.num_chunks(); ++chunk) {
    if (trace.chunk(chunk).first_step >= first_step + num_steps) break;
    trace.read_layer(chunk, slot, columns);
    for (std::size_t head = 0; head < lists.size(); ++head) {
      for (std::int64_t s = 0; s < columns.num_steps(); ++s) {
        const std::int64_t step = columns.first_step() + s - first_step;
        if (step < 0 || step >= num_steps) continue;
        const HeadRanking ranking = columns.at(s, static_cast<int>(head));
        const auto row = static_cast<std::size_t>(step * empty.max_pages);
        for (std::size_t i = 0; i < ranking.pages.size(); ++i) {
          lists[head].rank[row + ranking.pages[i]] = static_cast<std::uint16_t>(i);
          lists[head].mass[row + ranking.pages[i]] = ranking.mass[i];
        }
      }
    }
  }
  return lists;
}

}  // namespace retrosim
