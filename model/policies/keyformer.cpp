// Keyformer (arXiv 2403.09054; code d-matrix-ai/keyformer-llm, models/*/modeling_*.py): per head, the most recent
// tokens and those with the largest accumulated softmax of Gumbel-perturbed logits, at a temperature that rises from 1
// to 2.
//
// Costs per layer beside attention over n tokens: weights b Hq n e written and read again; noise, second softmax and
// accumulation, each a pass over b Hq n float32 scores; top-k; and
//   released  a gather of K and V, 2 b Hk n d e read and written
//   ideal     the new token overwrites the evicted slot
#include <array>

#include "model/policies/evicting.h"
#include "model/policies/layer_counts.h"

namespace retrosim {
namespace {

class KeyformerPolicy final : public HeavyHitterPolicy {
 public:
  explicit KeyformerPolicy(const PolicyParams& params) : HeavyHitterPolicy(params, 0.3) {}

  std::string_view name() const override { return "keyformer"; }
  std::span<const PolicyVariant> variants() const override {
    static constexpr std::array kVariants{PolicyVariant::ideal, PolicyVariant::released};
    return kVariants;
  }
  PolicyEvidence evidence() const override {
    return {.evaluated = false,
            .note =
                "accumulated recorded attention mass, without Gumbel noise and temperature (logits are not "
                "recorded); pages instead of tokens"};
  }

  void add_after_attention_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    const LayerCounts c(layer);
    const std::int64_t scores = score_bytes(c);
    const auto elements = static_cast<double>(c.b * c.hq * c.attended);
    graph.add(CachePassShape{.other_read = c.weights(), .other_write = c.weights() + scores, .operations = elements},
              "gumbel_noise", layer.layer);
    graph.add(CachePassShape{.other_read = scores, .other_write = scores, .operations = 4 * elements}, "gumbel_softmax",
              layer.layer);
    graph.add(CachePassShape{.other_read = 2 * scores, .other_write = scores, .operations = elements},
              "accumulate_scores", layer.layer);
    graph.add(TopKShape{.pages = c.b * c.attended, .selected = c.b * c.attended, .batch = c.b, .num_kv_heads = c.hq},
              "evict_top_k", layer.layer);
    if (variant() == PolicyVariant::ideal) return;
    add_cache_rewrite(graph, c, "gather_keys", "gather_values", layer.layer);
  }
};

}  // namespace

std::shared_ptr<const Policy> make_keyformer_policy(const PolicyParams& params) {
  return std::make_shared<KeyformerPolicy>(params);
}

}  // namespace retrosim
