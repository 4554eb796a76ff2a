// The rankings and masses of one KV head over some recorded steps, page by page.
#pragma once

#include <cstdint>
#include <vector>

#include "traces/trace_reader.h"

namespace retrosim {

struct RecordedList {
  int page_size = 0;
  std::int64_t first_position = 0;  // of step 0
  std::int64_t num_steps = 0;
  std::int64_t max_pages = 0;       // of the last step: the rows' length
  std::vector<std::uint16_t> rank;  // [num_steps][max_pages], 0 is the best
  std::vector<float> mass;          // [num_steps][max_pages]

  std::int64_t num_pages(std::int64_t step) const { return (first_position + step) / page_size + 1; }
  std::uint16_t rank_of(std::int64_t step, std::int64_t page) const {
    return rank[static_cast<std::size_t>(step * max_pages + page)];
  }
  float mass_of(std::int64_t step, std::int64_t page) const {
    return mass[static_cast<std::size_t>(step * max_pages + page)];
  }
};

/// All KV heads of recorded_layers[slot] over steps [first_step, first_step + num_steps). Throws InputError unless the
/// trace lists all pages, fewer than 65536.
std::vector<RecordedList> recorded_lists_of(const TraceReader& trace, int slot, std::int64_t first_step,
                                            std::int64_t num_steps);

}  // namespace retrosim
