#include <algorithm>
#include <limits>

#include "kernels/page_score/page_score.h"

namespace retrosim::kernels::host {
namespace {

double upper_bound(const float* q, const float* low, const float* high, std::int64_t head_dim) {
  double sum = 0;
  for (std::int64_t i = 0; i < head_dim; ++i) {
    sum += std::max(static_cast<double>(q[i]) * low[i], static_cast<double>(q[i]) * high[i]);
  }
  return sum;
}

}  // namespace

void page_scores(const KvShape& shape, const PageTable& table, std::int64_t num_q_heads, GroupReduction reduction,
                 std::span<const float> q, std::int64_t q_stride, std::span<const float> summaries,
                 std::span<float> scores) {
  const std::int64_t group = num_q_heads / shape.num_kv_heads;
  const std::int64_t lists = selection_heads(reduction, num_q_heads, shape.num_kv_heads);
  const std::int64_t heads_per_list = num_q_heads / lists;
  for (std::int64_t b = 0; b < table.batch; ++b) {
    const std::int64_t pages = table.num_pages(b, shape.page_size);
    for (std::int64_t list = 0; list < lists; ++list) {
      float* row = &scores[(b * lists + list) * table.max_pages];
      for (std::int64_t logical = 0; logical < table.max_pages; ++logical) {
        if (logical >= pages) {
          row[logical] = -std::numeric_limits<float>::infinity();
          continue;
        }
        const std::int64_t page = table.page(b, logical);
        double best = -std::numeric_limits<double>::infinity();
        double sum = 0;
        for (std::int64_t head = list * heads_per_list; head < (list + 1) * heads_per_list; ++head) {
          const std::int64_t kv_head = head / group;
          const double score =
              upper_bound(&q[b * q_stride + head * shape.head_dim], &summaries[shape.min_offset(page, kv_head)],
                          &summaries[shape.max_offset(page, kv_head)], shape.head_dim);
          best = std::max(best, score);
          sum += score;
        }
        row[logical] =
            static_cast<float>(reduction == GroupReduction::mean ? sum / static_cast<double>(heads_per_list) : best);
      }
    }
  }
}

}  // namespace retrosim::kernels::host
