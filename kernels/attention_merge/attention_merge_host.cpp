#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention_merge/attention_merge.h"

namespace retrosim::kernels::host {

void merge_attention_state(std::span<float> out, float& lse, std::span<const float> out_other, float lse_other) {
  constexpr float kEmpty = -std::numeric_limits<float>::infinity();
  if (lse_other == kEmpty) return;
  if (lse == kEmpty) {
    std::copy(out_other.begin(), out_other.end(), out.begin());
    lse = lse_other;
    return;
  }
  const double high = std::max(lse, lse_other);
  const double merged = high + std::log(std::exp(lse - high) + std::exp(lse_other - high));
  const double weight = std::exp(lse - merged);
  const double weight_other = std::exp(lse_other - merged);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(weight * out[i] + weight_other * out_other[i]);
  }
  lse = static_cast<float>(merged);
}

void merge_splits(std::int64_t num_splits, std::int64_t rows, std::int64_t head_dim, std::span<const float> partial_out,
                  std::span<const float> partial_lse, std::span<float> out, std::span<float> lse) {
  const auto width = static_cast<std::size_t>(head_dim);
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::span<float> merged = out.subspan(row * head_dim, width);
    std::fill(merged.begin(), merged.end(), 0.0F);
    lse[row] = -std::numeric_limits<float>::infinity();
    for (std::int64_t split = 0; split < num_splits; ++split) {
      merge_attention_state(merged, lse[row], partial_out.subspan((split * rows + row) * head_dim, width),
                            partial_lse[split * rows + row]);
    }
  }
}

void merge_output_cache(const OutputCacheSizes& sizes, std::span<const std::int32_t> positions,
                        std::span<const std::int32_t> num_rows, std::span<float> cache_values,
                        std::span<float> cache_lse, std::span<float> out, std::span<float> lse) {
  if (sizes.slots == 0) return;
  const auto width = static_cast<std::size_t>(sizes.head_dim);
  for (std::int64_t b = 0; b < sizes.batch; ++b) {
    // Descending, so that the row that leaves is merged before the current one takes its slot.
    for (std::int64_t s = num_rows[b] - 1; s >= 0; --s) {
      const std::int64_t slot = (positions[b] - s) % sizes.slots;
      for (std::int64_t head = 0; head < sizes.num_q_heads; ++head) {
        const std::int64_t entry = (slot * sizes.batch + b) * sizes.num_q_heads + head;
        const std::int64_t row = (b * sizes.window + s) * sizes.num_q_heads + head;
        const std::span<float> cached = cache_values.subspan(entry * sizes.head_dim, width);
        const std::span<float> values = out.subspan(row * sizes.head_dim, width);
        if (s > 0) merge_attention_state(values, lse[row], cached, cache_lse[entry]);
        std::copy(values.begin(), values.end(), cached.begin());
        cache_lse[entry] = lse[row];
      }
    }
  }
}

}  // namespace retrosim::kernels::host
