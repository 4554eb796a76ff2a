// StreamingLLM (arXiv 2309.17453): the first tokens (attention sinks) and the most recent ones, at page granularity;
// everything between is evicted from the sparse layers for good. Code: mit-han-lab/streaming-llm, kv_cache.py.
//
//   ideal     a ring buffer: the new token overwrites the oldest, rotation is fused. No extra operations.
//   released  keys are cached before RoPE and rotated with their position inside the cache at every step: b Hk n d e
//             read and written; and K and V are rebuilt by slices and torch.cat: 2 b Hk n d e read and written
#include <algorithm>
#include <array>

#include "model/policies/layer_counts.h"
#include "model/policy.h"

namespace retrosim {
namespace {

class StreamingPolicy final : public Policy {
 public:
  explicit StreamingPolicy(const PolicyParams& params) : Policy(params) {}

  std::string_view name() const override { return "streaming"; }
  std::int64_t pages_selected(std::int64_t num_pages, int page_size) const override {
    return pages_in_budget(params(), num_pages, page_size);
  }
  bool can_return_to_skipped_pages() const override { return false; }
  bool selects_by_score() const override { return false; }
  PolicyEvidence evidence() const override { return {.note = "positions alone, at page granularity"}; }
  bool keeps_page_summaries() const override { return false; }

  void select(const RankedPages& ranked, int page_size, std::vector<PageId>& out) const override {
    const std::int64_t count = pages_selected(ranked.num_pages, page_size);
    // The page being filled comes first; sinks take what is left, at most their own pages.
    const std::int64_t sinks = std::min(count - 1, (params().sink_tokens + page_size - 1) / page_size);
    out.clear();
    for (std::int64_t page = 0; page < sinks; ++page) out.push_back(static_cast<PageId>(page));
    for (std::int64_t page = ranked.num_pages - (count - sinks); page < ranked.num_pages; ++page) {
      out.push_back(static_cast<PageId>(page));
    }
  }

  std::span<const PolicyVariant> variants() const override {
    static constexpr std::array kVariants{PolicyVariant::ideal, PolicyVariant::released};
    return kVariants;
  }

  void add_selection_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    if (variant() == PolicyVariant::ideal) return;
    const LayerCounts c(layer);
    const std::int64_t keys = c.kv(c.head_tokens) / 2;
    graph.add(CachePassShape{.kv_read = keys, .kv_write = keys}, "rebuild_keys", layer.layer);
    graph.add(CachePassShape{.kv_read = keys, .kv_write = keys}, "rebuild_values", layer.layer);
    graph.add(
        CachePassShape{.kv_read = keys, .kv_write = keys, .operations = 3.0 * static_cast<double>(c.head_tokens * c.d)},
        "rotate_cached_keys", layer.layer);
  }

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    const std::int64_t kept = pages_selected(pages_of(context_tokens, page_size), page_size) * page_size;
    return {.gpu_kv = gpu_kv_bytes(llm, kv_dtype, context_tokens, kept, page_size, dense_layers)};
  }
};

}  // namespace

std::shared_ptr<const Policy> make_streaming_policy(const PolicyParams& params) {
  return std::make_shared<StreamingPolicy>(params);
}

}  // namespace retrosim
