#include "model/policies/kept_list.h"

#include "model/policies/recalling.h"

namespace retrosim {

void select_every(std::int64_t interval, std::int64_t count, const RankedPages& ranked, SelectionMemory& memory,
                  std::vector<PageId>& out) {
  const std::int64_t step = ranked.position >= 0 ? ranked.position : memory.steps;
  if (memory.steps == 0 || step % interval == 0) {
    select_with_always_kept(ranked, 0, 1, count, out);
  } else {
    out = memory.kept;
    for (std::int64_t page = memory.num_pages; page < ranked.num_pages; ++page) {
      out.insert(out.begin(), static_cast<PageId>(page));
    }
    out.resize(static_cast<std::size_t>(count));
  }
  memory.kept = out;
  memory.num_pages = ranked.num_pages;
  ++memory.steps;
}

}  // namespace retrosim
