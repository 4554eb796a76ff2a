#include "kernels/host_kv_cache.h"

#include <algorithm>
#include <numeric>

#include "kernels/forward/dense_forward.h"
#include "kernels/page_summary/page_summary.h"

namespace retrosim::kernels {

HostKvCache::HostKvCache(const LlmSpec& llm, int page_size, std::int64_t num_pages, int first_summarised)
    : shape{.num_pages = num_pages, .num_kv_heads = llm.num_kv_heads, .page_size = page_size, .head_dim = llm.head_dim},
      layers(static_cast<std::size_t>(llm.num_layers)) {
  for (int layer = 0; layer < llm.num_layers; ++layer) {
    Layer& pages = layers[static_cast<std::size_t>(layer)];
    pages.kv.resize(static_cast<std::size_t>(shape.kv_size()));
    if (layer >= first_summarised) pages.summaries.resize(static_cast<std::size_t>(shape.summary_size()));
  }
}

void HostKvCache::adopt(const DenseForward& forward, std::int64_t tokens) {
  std::vector<std::int32_t> physical(static_cast<std::size_t>((tokens + shape.page_size - 1) / shape.page_size));
  std::iota(physical.begin(), physical.end(), 0);
  const std::vector<std::int32_t> context_lens{static_cast<std::int32_t>(tokens)};
  const PageTable table{.batch = 1,
                        .max_pages = static_cast<std::int64_t>(physical.size()),
                        .physical = physical,
                        .context_lens = context_lens};
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    Layer& pages = layers[layer];
    for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
      const float* keys = forward.keys(static_cast<int>(layer), head);
      const float* values = forward.values(static_cast<int>(layer), head);
      for (std::int64_t token = 0; token < tokens; ++token) {
        const std::int64_t page = token / shape.page_size;
        const std::int64_t slot = token % shape.page_size;
        std::copy_n(keys + token * shape.head_dim, shape.head_dim, &pages.kv[shape.key_offset(page, head, slot)]);
        std::copy_n(values + token * shape.head_dim, shape.head_dim, &pages.kv[shape.value_offset(page, head, slot)]);
      }
    }
    if (!pages.summaries.empty()) host::build_page_summaries(shape, table, pages.kv, pages.summaries);
  }
}

void HostKvCache::copy_page(std::int64_t from, std::int64_t to) {
  const std::int64_t kv = shape.kv_size() / shape.num_pages;
  const std::int64_t summary = shape.summary_size() / shape.num_pages;
  for (Layer& layer : layers) {
    std::copy_n(layer.kv.begin() + from * kv, kv, layer.kv.begin() + to * kv);
    if (layer.summaries.empty()) continue;
    std::copy_n(layer.summaries.begin() + from * summary, summary, layer.summaries.begin() + to * summary);
  }
}

}  // namespace retrosim::kernels
