// H2O (arXiv 2306.14048; code FMInference/H2O): per head, half of the budget for the tokens with the largest attention
// mass accumulated so far (heavy hitters), half for the most recent ones.
//
// Costs per layer beside attention over n tokens:
//   both      weights b Hq n e written and read again; accumulated scores (float32) read and written; masked arg min
//   paper     in place, as in h2o_flexgen's pytorch_backend.py: the new token is copied over the victim's slot
//   released  h2o_hf's modify_llama.py: the kept cache is copied with a boolean mask, 2 b Hk n d e read and written
#include <array>

#include "model/policies/evicting.h"
#include "model/policies/layer_counts.h"

namespace retrosim {
namespace {

class H2oPolicy final : public HeavyHitterPolicy {
 public:
  explicit H2oPolicy(const PolicyParams& params) : HeavyHitterPolicy(params, 0.5) {}

  std::string_view name() const override { return "h2o"; }
  std::span<const PolicyVariant> variants() const override {
    static constexpr std::array kVariants{PolicyVariant::paper, PolicyVariant::released};
    return kVariants;
  }
  PolicyEvidence evidence() const override {
    return {.note =
                "by recorded attention mass accumulated from the first replayed step, pages instead of tokens, per KV "
                "head; renormalised over the pages still held"};
  }

  void add_after_attention_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    const LayerCounts c(layer);
    const std::int64_t scores = score_bytes(c);
    graph.add(CachePassShape{.other_read = c.weights() + scores,
                             .other_write = c.weights() + scores,
                             .operations = static_cast<double>(c.b * c.hq * c.attended)},
              "accumulate_scores", layer.layer);
    graph.add(TopKShape{.pages = c.b * c.attended, .selected = c.b, .batch = c.b, .num_kv_heads = c.hq},
              "evict_arg_min", layer.layer);
    if (variant() == PolicyVariant::paper) {
      graph.add(CachePassShape{.kv_read = c.token_kv(), .kv_write = c.token_kv()}, "overwrite_victim", layer.layer);
      return;
    }
    add_cache_rewrite(graph, c, "copy_kept_keys", "copy_kept_values", layer.layer);
  }
};

}  // namespace

std::shared_ptr<const Policy> make_h2o_policy(const PolicyParams& params) {
  return std::make_shared<H2oPolicy>(params);
}

}  // namespace retrosim
