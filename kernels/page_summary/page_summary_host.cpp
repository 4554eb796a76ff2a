#include <algorithm>

#include "kernels/page_summary/page_summary.h"

namespace retrosim::kernels::host {
namespace {

// Widens the summary of (page, head) by keys `first_slot` .. `end_slot` - 1; the first of them sets it when `fresh`.
void widen(const KvShape& shape, std::int64_t page, std::int64_t head, std::int64_t first_slot, std::int64_t end_slot,
           bool fresh, std::span<const float> kv_cache, std::span<float> summaries) {
  float* low = &summaries[shape.min_offset(page, head)];
  float* high = &summaries[shape.max_offset(page, head)];
  for (std::int64_t slot = first_slot; slot < end_slot; ++slot) {
    const float* key = &kv_cache[shape.key_offset(page, head, slot)];
    for (std::int64_t i = 0; i < shape.head_dim; ++i) {
      low[i] = fresh ? key[i] : std::min(low[i], key[i]);
      high[i] = fresh ? key[i] : std::max(high[i], key[i]);
    }
    fresh = false;
  }
}

void recompute_pages(const KvShape& shape, const PageTable& table, std::int64_t sequence, std::int64_t first_page,
                     std::span<const float> kv_cache, std::span<float> summaries) {
  const std::int64_t tokens = table.context_len(sequence);
  for (std::int64_t logical = first_page; logical < table.num_pages(sequence, shape.page_size); ++logical) {
    const std::int64_t slots = std::min(shape.page_size, tokens - logical * shape.page_size);
    for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
      widen(shape, table.page(sequence, logical), head, 0, slots, true, kv_cache, summaries);
    }
  }
}

}  // namespace

void build_page_summaries(const KvShape& shape, const PageTable& table, std::span<const float> kv_cache,
                          std::span<float> summaries) {
  for (std::int64_t b = 0; b < table.batch; ++b) recompute_pages(shape, table, b, 0, kv_cache, summaries);
}

void recompute_page_summaries(const KvShape& shape, const PageTable& table,
                              std::span<const std::int32_t> touched_tokens, std::span<const float> kv_cache,
                              std::span<float> summaries) {
  for (std::int64_t b = 0; b < table.batch; ++b) {
    if (touched_tokens[b] <= 0) continue;
    const std::int64_t first = std::max<std::int64_t>(0, table.context_len(b) - touched_tokens[b]);
    recompute_pages(shape, table, b, first / shape.page_size, kv_cache, summaries);
  }
}

void widen_page_summaries(const KvShape& shape, const PageTable& table, std::span<const std::int32_t> touched_tokens,
                          std::span<const float> kv_cache, std::span<float> summaries) {
  for (std::int64_t b = 0; b < table.batch; ++b) {
    const std::int64_t end = table.context_len(b);
    const std::int64_t first = std::max<std::int64_t>(0, end - touched_tokens[b]);
    for (std::int64_t position = first; position < end; ++position) {
      const std::int64_t slot = position % shape.page_size;
      // Only the current token can be the first one ever written to its page.
      const bool opens_page = slot == 0 && position == end - 1;
      for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
        widen(shape, table.page(b, position / shape.page_size), head, slot, slot + 1, opens_page, kv_cache, summaries);
      }
    }
  }
}

}  // namespace retrosim::kernels::host
