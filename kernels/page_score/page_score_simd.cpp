#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/forward/forward_math.h"
#include "kernels/page_score/page_score.h"

namespace retrosim::kernels::simd {

void page_scores(const KvShape& shape, const PageTable& table, std::int64_t num_q_heads, GroupReduction reduction,
                 std::span<const float> q, std::int64_t q_stride, std::span<const float> summaries,
                 std::span<float> scores) {
  const ForwardMath& math = forward_math();
  const std::int64_t d = shape.head_dim;
  const std::int64_t lists = selection_heads(reduction, num_q_heads, shape.num_kv_heads);
  const std::int64_t heads = num_q_heads / lists;
  const std::int64_t group = num_q_heads / shape.num_kv_heads;
  // max(q kmin, q kmax) = q- kmin + q+ kmax: one product with the summary as it lies in memory.
  std::vector<float> parts(static_cast<std::size_t>(heads * 2 * d));
  std::vector<float> bounds(static_cast<std::size_t>(heads));
  for (std::int64_t b = 0; b < table.batch; ++b) {
    const std::int64_t pages = table.num_pages(b, shape.page_size);
    for (std::int64_t list = 0; list < lists; ++list) {
      for (std::int64_t head = 0; head < heads; ++head) {
        const float* query = &q[b * q_stride + (list * heads + head) * d];
        for (std::int64_t i = 0; i < d; ++i) {
          parts[head * 2 * d + i] = std::min(query[i], 0.0F);
          parts[(head * 2 + 1) * d + i] = std::max(query[i], 0.0F);
        }
      }
      float* row = &scores[(b * lists + list) * table.max_pages];
      std::fill(row + pages, row + table.max_pages, -std::numeric_limits<float>::infinity());
      for (std::int64_t page = 0; page < pages; ++page) {
        math.dots(heads, 1, 2 * d, parts.data(), 2 * d,
                  &summaries[shape.min_offset(table.page(b, page), list * heads / group)], 2 * d, bounds.data(), 1);
        float sum = 0;
        for (const float bound : bounds) sum += bound;
        row[page] = reduction == GroupReduction::mean ? sum / static_cast<float>(heads)
                                                      : *std::max_element(bounds.begin(), bounds.end());
      }
    }
  }
}

void page_masses(const KvShape& shape, const PageTable& table, std::int64_t num_q_heads, GroupReduction reduction,
                 std::span<const float> q, std::int64_t q_stride, std::span<const float> kv_cache,
                 std::span<float> scores) {
  const ForwardMath& math = forward_math();
  const std::int64_t d = shape.head_dim;
  const std::int64_t lists = selection_heads(reduction, num_q_heads, shape.num_kv_heads);
  const std::int64_t heads = num_q_heads / lists;
  const std::int64_t group = num_q_heads / shape.num_kv_heads;
  const float scale = 1.0F / std::sqrt(static_cast<float>(d));
  std::vector<float> weights;
  std::vector<float> mass;
  for (std::int64_t b = 0; b < table.batch; ++b) {
    const std::int64_t tokens = table.context_len(b);
    const std::int64_t pages = table.num_pages(b, shape.page_size);
    weights.resize(static_cast<std::size_t>(heads * tokens));
    mass.resize(static_cast<std::size_t>(pages));
    for (std::int64_t list = 0; list < lists; ++list) {
      for (std::int64_t page = 0; page < pages; ++page) {
        const std::int64_t start = page * shape.page_size;
        math.dots(heads, std::min(shape.page_size, tokens - start), d, &q[b * q_stride + list * heads * d], d,
                  &kv_cache[shape.key_offset(table.page(b, page), list * heads / group, 0)], d, &weights[start],
                  tokens);
      }
      float* row = &scores[(b * lists + list) * table.max_pages];
      std::fill(row + pages, row + table.max_pages, -std::numeric_limits<float>::infinity());
      std::fill(row, row + pages, 0.0F);
      for (std::int64_t head = 0; head < heads; ++head) {
        float* head_weights = &weights[head * tokens];
        const float sum = math.exponentials(head_weights, tokens, scale);
        math.block_sums(head_weights, tokens, shape.page_size, 1.0F / (sum * static_cast<float>(heads)), mass.data());
        for (std::int64_t page = 0; page < pages; ++page) row[page] += mass[page];
      }
    }
  }
}

}  // namespace retrosim::kernels::simd
