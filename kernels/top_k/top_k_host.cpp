#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/top_k/top_k.h"

namespace retrosim::kernels::host {

void select_top_k(const PageTable& table, std::int64_t page_size, std::int64_t lists_per_sequence, std::int64_t k_max,
                  std::span<const float> scores, std::span<const std::int32_t> k, std::span<std::int32_t> selected,
                  std::span<std::int32_t> counts) {
  std::vector<std::int32_t> order;
  for (std::int64_t b = 0; b < table.batch; ++b) {
    const auto pages = static_cast<std::int32_t>(table.num_pages(b, page_size));
    const std::int32_t count = std::min(k[b], pages);
    for (std::int64_t list = 0; list < lists_per_sequence; ++list) {
      const float* row = &scores[(b * lists_per_sequence + list) * table.max_pages];
      std::int32_t* out = &selected[(b * lists_per_sequence + list) * k_max];
      order.resize(static_cast<std::size_t>(pages - 1));
      std::iota(order.begin(), order.end(), 0);
      const auto better = [row](std::int32_t a, std::int32_t c) {
        return row[a] > row[c] || (row[a] == row[c] && a < c);
      };
      std::partial_sort(order.begin(), order.begin() + (count - 1), order.end(), better);
      std::copy_n(order.begin(), count - 1, out);
      out[count - 1] = pages - 1;
      std::sort(out, out + count);
      std::fill(out + count, out + k_max, -1);
      counts[b * lists_per_sequence + list] = count;
    }
  }
}

}  // namespace retrosim::kernels::host
