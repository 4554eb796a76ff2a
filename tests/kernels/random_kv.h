// Random paged KV for kernel tests: every sequence's pages are scattered over the physical ones.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/paged_kv.h"

namespace retrosim::kernels {

inline std::vector<float> random_floats(std::int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0F, 1.0F);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

struct RandomKv {
  RandomKv(std::vector<std::int32_t> lens, std::int64_t num_kv_heads, std::int64_t page_size, std::int64_t head_dim,
           std::mt19937& random)
      : context_lens(std::move(lens)) {
    for (const std::int32_t len : context_lens) max_pages = std::max(max_pages, (len + page_size - 1) / page_size);
    const auto batch = static_cast<std::int64_t>(context_lens.size());
    shape = {
        .num_pages = batch * max_pages + 3, .num_kv_heads = num_kv_heads, .page_size = page_size, .head_dim = head_dim};
    std::vector<std::int32_t> pages(static_cast<std::size_t>(shape.num_pages));
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), random);
    physical.assign(pages.begin(), pages.begin() + batch * max_pages);
    cache = random_floats(shape.kv_size(), random);
  }

  PageTable table() const {
    return {.batch = static_cast<std::int64_t>(context_lens.size()),
            .max_pages = max_pages,
            .physical = physical,
            .context_lens = context_lens};
  }
  const float* key(std::int64_t b, std::int64_t head, std::int64_t position) const {
    return &cache[shape.key_offset(table().page(b, position / shape.page_size), head, position % shape.page_size)];
  }
  const float* value(std::int64_t b, std::int64_t head, std::int64_t position) const {
    return &cache[shape.value_offset(table().page(b, position / shape.page_size), head, position % shape.page_size)];
  }

  std::vector<std::int32_t> context_lens;
  std::int64_t max_pages = 0;
  KvShape shape;
  std::vector<std::int32_t> physical;
  std::vector<float> cache;
};

}  // namespace retrosim::kernels
