#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/forward/forward_math.h"

namespace retrosim::kernels::simd {
namespace {

/// Some tokens of one page.
struct Segment {
  std::int64_t page = 0;  // physical
  std::int64_t slot = 0;
  std::int64_t tokens = 0;
};

/// Attention of `heads` query heads of one group, at one position, over the same tokens: logits of all of them, then
/// weights, then values.
class GroupAttention {
 public:
  explicit GroupAttention(const KvShape& shape) : shape_(shape), math_(forward_math()) {}

  // q, out: [heads, head_dim]; lse: [heads]
  void run(const std::vector<Segment>& segments, std::int64_t kv_head, std::int64_t heads, const float* q,
           const float* kv_cache, float* out, float* lse) {
    const std::int64_t d = shape_.head_dim;
    std::fill_n(out, heads * d, 0.0F);
    std::fill_n(lse, heads, -std::numeric_limits<float>::infinity());
    std::int64_t tokens = 0;
    for (const Segment& segment : segments) tokens += segment.tokens;
    if (tokens == 0) return;
    logits_.resize(static_cast<std::size_t>(heads * tokens));
    std::int64_t at = 0;
    for (const Segment& segment : segments) {
      math_.dots(heads, segment.tokens, d, q, d, kv_cache + shape_.key_offset(segment.page, kv_head, segment.slot), d,
                 &logits_[at], tokens);
      at += segment.tokens;
    }
    const float scale = 1.0F / std::sqrt(static_cast<float>(d));
    sums_.resize(static_cast<std::size_t>(heads));
    for (std::int64_t head = 0; head < heads; ++head) {
      float* row = &logits_[head * tokens];
      const float high = math_.maximum(row, tokens);
      sums_[head] = math_.exponentials(row, tokens, scale);
      lse[head] = high * scale + std::log(sums_[head]);
    }
    at = 0;
    for (const Segment& segment : segments) {
      math_.add_weighted(heads, segment.tokens, d, &logits_[at], tokens,
                         kv_cache + shape_.value_offset(segment.page, kv_head, segment.slot), d, out, d);
      at += segment.tokens;
    }
    for (std::int64_t i = 0; i < heads * d; ++i) out[i] /= sums_[i / d];
  }

 private:
  KvShape shape_;
  const ForwardMath& math_;
  std::vector<float> logits_;
  std::vector<float> sums_;
};

}  // namespace

void sparse_attention(const host::AttentionSizes& sizes, const PageTable& table, std::span<const float> q,
                      std::span<const float> kv_cache, std::span<const std::int32_t> selected,
                      std::span<const std::int32_t> counts, std::span<const std::int32_t> num_rows,
                      std::span<std::int32_t> last_loaded, std::span<float> out, std::span<float> lse) {
  const KvShape& kv = sizes.kv;
  const std::int64_t group = sizes.num_q_heads / kv.num_kv_heads;
  const std::int64_t heads = sizes.num_q_heads / sizes.num_lists;  // that share a list
  GroupAttention attention(kv);
  std::vector<Segment> segments;
  for (std::int64_t b = 0; b < table.batch; ++b) {
    const std::int64_t t = table.context_len(b) - 1;
    for (std::int64_t list = 0; list < sizes.num_lists; ++list) {
      const std::int32_t* pages = &selected[(b * sizes.num_lists + list) * sizes.k_max];
      const std::int32_t count = counts[b * sizes.num_lists + list];
      std::int32_t* last = last_loaded.empty() ? nullptr : &last_loaded[(b * sizes.num_lists + list) * table.max_pages];
      for (std::int64_t s = 0; s < sizes.window; ++s) {
        segments.clear();
        for (std::int32_t i = 0; s < num_rows[b] && i < count; ++i) {
          const std::int64_t start = pages[i] * kv.page_size;
          if (start > t - s || (s > 0 && last[pages[i]] >= t - s)) continue;
          segments.push_back(
              {.page = table.page(b, pages[i]), .slot = 0, .tokens = std::min(kv.page_size, t - s + 1 - start)});
        }
        const std::int64_t row = (b * sizes.window + s) * sizes.num_q_heads + list * heads;
        attention.run(segments, list * heads / group, heads, &q[row * kv.head_dim], kv_cache.data(),
                      &out[row * kv.head_dim], &lse[row]);
      }
      for (std::int32_t i = 0; last != nullptr && i < count; ++i) last[pages[i]] = static_cast<std::int32_t>(t);
    }
  }
}

void dense_attention(const host::AttentionSizes& sizes, const PageTable& table, std::int64_t sliding_window,
                     std::span<const float> q, std::span<const float> kv_cache, std::span<const std::int32_t> num_rows,
                     std::span<float> out, std::span<float> lse) {
  const KvShape& kv = sizes.kv;
  const std::int64_t group = sizes.num_q_heads / kv.num_kv_heads;
  GroupAttention attention(kv);
  std::vector<Segment> segments;
  for (std::int64_t b = 0; b < table.batch; ++b) {
    for (std::int64_t s = 0; s < sizes.window; ++s) {
      const std::int64_t position = table.context_len(b) - 1 - s;
      const std::int64_t first = sliding_window > 0 ? std::max<std::int64_t>(0, position - sliding_window + 1) : 0;
      segments.clear();
      for (std::int64_t page = first / kv.page_size; s < num_rows[b] && page * kv.page_size <= position; ++page) {
        const std::int64_t slot = std::max<std::int64_t>(0, first - page * kv.page_size);
        const std::int64_t end = std::min(kv.page_size, position + 1 - page * kv.page_size);
        segments.push_back({.page = table.page(b, page), .slot = slot, .tokens = end - slot});
      }
      for (std::int64_t head = 0; head < kv.num_kv_heads; ++head) {
        const std::int64_t row = (b * sizes.window + s) * sizes.num_q_heads + head * group;
        attention.run(segments, head, group, &q[row * kv.head_dim], kv_cache.data(), &out[row * kv.head_dim],
                      &lse[row]);
      }
    }
  }
}

}  // namespace retrosim::kernels::simd
