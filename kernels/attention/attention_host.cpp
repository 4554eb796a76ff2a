#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention/attention.h"

namespace retrosim::kernels::host {
namespace {

constexpr double kNegativeInfinity = -std::numeric_limits<double>::infinity();

// Softmax-weighted sum of values, built token by token (Milakov & Gimelshein, "Online normalizer calculation for
// softmax").
class OnlineSoftmax {
 public:
  explicit OnlineSoftmax(std::int64_t head_dim) : values_(static_cast<std::size_t>(head_dim)) {}

  void clear() {
    maximum_ = kNegativeInfinity;
    sum_ = 0;
    std::fill(values_.begin(), values_.end(), 0.0);
  }

  // A token of logit -infinity (masked) adds nothing.
  void add(double logit, const float* value) {
    if (!(logit > kNegativeInfinity)) return;
    if (logit > maximum_) {
      const double shrink = std::exp(maximum_ - logit);
      sum_ *= shrink;
      for (double& v : values_) v *= shrink;
      maximum_ = logit;
    }
    const double weight = std::exp(logit - maximum_);
    sum_ += weight;
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i] += weight * value[i];
  }

  // Returns the log-sum-exp.
  float finish(float* out) const {
    for (std::size_t i = 0; i < values_.size(); ++i) out[i] = sum_ > 0 ? static_cast<float>(values_[i] / sum_) : 0.0F;
    return sum_ > 0 ? static_cast<float>(maximum_ + std::log(sum_)) : -std::numeric_limits<float>::infinity();
  }

 private:
  double maximum_ = kNegativeInfinity;
  double sum_ = 0;
  std::vector<double> values_;
};

double scaled_dot(const float* q, const float* key, std::int64_t head_dim) {
  double sum = 0;
  for (std::int64_t i = 0; i < head_dim; ++i) sum += static_cast<double>(q[i]) * key[i];
  return sum / std::sqrt(static_cast<double>(head_dim));
}

// Adds the tokens of one page at positions in [first, last].
void add_page(const KvShape& shape, std::int64_t page, std::int64_t logical, std::int64_t head, std::int64_t first,
              std::int64_t last, const float* q, const float* kv_cache, OnlineSoftmax& sum) {
  const std::int64_t start = logical * shape.page_size;
  const std::int64_t first_slot = std::max<std::int64_t>(0, first - start);
  const std::int64_t end_slot = std::min(shape.page_size, last - start + 1);
  for (std::int64_t slot = first_slot; slot < end_slot; ++slot) {
    sum.add(scaled_dot(q, kv_cache + shape.key_offset(page, head, slot), shape.head_dim),
            kv_cache + shape.value_offset(page, head, slot));
  }
}

// The mask form of add_page: computes every token of the context on the page and masks where it must not count.
void add_page_masked(const KvShape& shape, std::int64_t page, std::int64_t logical, std::int64_t head,
                     std::int64_t last, std::int64_t context_len, bool unseen, const float* q, const float* kv_cache,
                     OnlineSoftmax& sum) {
  const std::int64_t start = logical * shape.page_size;
  for (std::int64_t slot = 0; slot < std::min(shape.page_size, context_len - start); ++slot) {
    const double logit = scaled_dot(q, kv_cache + shape.key_offset(page, head, slot), shape.head_dim);
    sum.add(unseen && start + slot <= last ? logit : kNegativeInfinity,
            kv_cache + shape.value_offset(page, head, slot));
  }
}

}  // namespace

void sparse_attention(const AttentionSizes& sizes, const PageTable& table, UnseenMode mode, std::span<const float> q,
                      std::span<const float> kv_cache, std::span<const std::int32_t> selected,
                      std::span<const std::int32_t> counts, std::span<const std::int32_t> num_rows,
                      std::span<std::int32_t> last_loaded, std::span<float> out, std::span<float> lse) {
  const KvShape& kv = sizes.kv;
  const std::int64_t group = sizes.num_q_heads / kv.num_kv_heads;
  const std::int64_t heads_per_list = sizes.num_q_heads / sizes.num_lists;
  OnlineSoftmax sum(kv.head_dim);
  for (std::int64_t b = 0; b < table.batch; ++b) {
    const std::int64_t context_len = table.context_len(b);
    const std::int64_t t = context_len - 1;
    for (std::int64_t s = 0; s < sizes.window; ++s) {
      for (std::int64_t head = 0; head < sizes.num_q_heads; ++head) {
        const std::int64_t list = b * sizes.num_lists + head / heads_per_list;
        const std::int64_t row = (b * sizes.window + s) * sizes.num_q_heads + head;
        sum.clear();
        for (std::int64_t i = 0; s < num_rows[b] && i < counts[list]; ++i) {
          const std::int64_t logical = selected[list * sizes.k_max + i];
          const bool unseen =
              s == 0 || (last_loaded[list * table.max_pages + logical] < t - s && logical * kv.page_size <= t - s);
          const float* query = &q[row * kv.head_dim];
          if (mode == UnseenMode::mask) {
            add_page_masked(kv, table.page(b, logical), logical, head / group, t - s, context_len, unseen, query,
                            kv_cache.data(), sum);
          } else if (unseen) {
            add_page(kv, table.page(b, logical), logical, head / group, 0, t - s, query, kv_cache.data(), sum);
          }
        }
        lse[row] = sum.finish(&out[row * kv.head_dim]);
      }
    }
    if (last_loaded.empty()) continue;
    for (std::int64_t list = b * sizes.num_lists; list < (b + 1) * sizes.num_lists; ++list) {
      for (std::int64_t i = 0; i < counts[list]; ++i) {
        last_loaded[list * table.max_pages + selected[list * sizes.k_max + i]] = static_cast<std::int32_t>(t);
      }
    }
  }
}

void dense_attention(const AttentionSizes& sizes, const PageTable& table, std::int64_t sliding_window,
                     std::span<const float> q, std::span<const float> kv_cache, std::span<const std::int32_t> num_rows,
                     std::span<float> out, std::span<float> lse) {
  const KvShape& kv = sizes.kv;
  const std::int64_t group = sizes.num_q_heads / kv.num_kv_heads;
  OnlineSoftmax sum(kv.head_dim);
  for (std::int64_t b = 0; b < table.batch; ++b) {
    for (std::int64_t s = 0; s < sizes.window; ++s) {
      const std::int64_t position = table.context_len(b) - 1 - s;
      const std::int64_t first = sliding_window > 0 ? std::max<std::int64_t>(0, position - sliding_window + 1) : 0;
      for (std::int64_t head = 0; head < sizes.num_q_heads; ++head) {
        const std::int64_t row = (b * sizes.window + s) * sizes.num_q_heads + head;
        sum.clear();
        for (std::int64_t page = first / kv.page_size; s < num_rows[b] && page * kv.page_size <= position; ++page) {
          add_page(kv, table.page(b, page), page, head / group, first, position, &q[row * kv.head_dim], kv_cache.data(),
                   sum);
        }
        lse[row] = sum.finish(&out[row * kv.head_dim]);
      }
    }
  }
}

void prefill_attention(const KvShape& shape, const PageTable& table, std::int64_t num_q_heads, std::int64_t new_tokens,
                       std::int64_t sliding_window, std::span<const float> q, std::span<const float> kv_cache,
                       std::span<float> out) {
  const std::int64_t group = num_q_heads / shape.num_kv_heads;
  OnlineSoftmax sum(shape.head_dim);
  for (std::int64_t b = 0; b < table.batch; ++b) {
    for (std::int64_t n = 0; n < new_tokens; ++n) {
      const std::int64_t position = table.context_len(b) - new_tokens + n;
      const std::int64_t first = sliding_window > 0 ? std::max<std::int64_t>(0, position - sliding_window + 1) : 0;
      for (std::int64_t head = 0; head < num_q_heads; ++head) {
        const std::int64_t row = (b * new_tokens + n) * num_q_heads + head;
        sum.clear();
        for (std::int64_t page = first / shape.page_size; page * shape.page_size <= position; ++page) {
          add_page(shape, table.page(b, page), page, head / group, first, position, &q[row * shape.head_dim],
                   kv_cache.data(), sum);
        }
        sum.finish(&out[row * shape.head_dim]);
      }
    }
  }
}

}  // namespace retrosim::kernels::host
