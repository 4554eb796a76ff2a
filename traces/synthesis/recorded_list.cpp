#include "traces/synthesis/recorded_list.h"

#include "model/error.h"
#include "traces/each_ranking.h"

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
  for_each_ranking(trace, slot, first_step, num_steps, [&](int head, std::int64_t step, const HeadRanking& ranking) {
    RecordedList& list = lists[static_cast<std::size_t>(head)];
    const auto row = static_cast<std::size_t>(step * empty.max_pages);
    for (std::size_t i = 0; i < ranking.pages.size(); ++i) {
      list.rank[row + ranking.pages[i]] = static_cast<std::uint16_t>(i);
      list.mass[row + ranking.pages[i]] = ranking.mass[i];
    }
  });
  return lists;
}

}  // namespace retrosim
