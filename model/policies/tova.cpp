// TOVA (arXiv 2401.06104; code schwartz-lab-NLP/TOVA, src/tova_cache.py): after attention, the current query's weights
// are averaged over the heads and the weakest position leaves; no sink, no recency rule. One index set per layer.
//
// Costs per layer beside attention over B + 1 tokens (n below):
//   both      weights b Hq n e written and read again (so attention cannot keep them on chip), mean, top-k
//   released  sort, two gathers that read and write 2 b Hk n d e together, one concatenation
//   ideal     the new token overwrites the evicted slot: RoPE/append has written it already
#include <array>

#include "model/policies/evicting.h"
#include "model/policies/layer_counts.h"

namespace retrosim {
namespace {

class TovaPolicy final : public EvictingPolicy {
 public:
  explicit TovaPolicy(const PolicyParams& params) : EvictingPolicy(params) {}

  std::string_view name() const override { return "tova"; }
  std::span<const PolicyVariant> variants() const override {
    static constexpr std::array kVariants{PolicyVariant::ideal, PolicyVariant::released};
    return kVariants;
  }
  PolicyEvidence evidence() const override {
    return {.note =
                "by recorded attention mass, pages instead of tokens, per KV head instead of per layer; renormalised "
                "over the pages still held"};
  }

  void add_after_attention_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    const LayerCounts c(layer);
    graph.add(CachePassShape{.other_read = c.weights(),
                             .other_write = c.weights() + c.b * c.attended * 4,
                             .operations = static_cast<double>(c.b * c.hq * c.attended)},
              "weights_mean", layer.layer);
    graph.add(TopKShape{.pages = c.b * c.attended, .selected = c.b * c.attended, .batch = c.b, .num_kv_heads = 1},
              "evict_top_k", layer.layer);
    if (variant() == PolicyVariant::ideal) return;
    graph.add(CachePassShape{.other_read = c.b * c.attended * 4, .other_write = c.b * c.attended * 4}, "sort_kept",
              layer.layer);
    add_cache_rewrite(graph, c, "gather_keys", "gather_values", layer.layer);
    graph.add(CachePassShape{.kv_read = c.token_kv(), .kv_write = c.token_kv()}, "concat_new_token", layer.layer);
  }

 protected:
  std::int64_t recent_pages(std::int64_t /*count*/, int /*page_size*/) const override { return 1; }
  /// The current query alone decides.
  void accumulate(const std::vector<float>& mass, SelectionMemory& memory) const override {
    memory.score.assign(mass.begin(), mass.end());
  }
};

}  // namespace

std::shared_ptr<const Policy> make_tova_policy(const PolicyParams& params) {
  return std::make_shared<TovaPolicy>(params);
}

}  // namespace retrosim
