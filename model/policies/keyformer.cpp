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

constexpr std::int64_t kScoreBytes = 4;

class KeyformerPolicy final : public EvictingPolicy {
 public:
  explicit KeyformerPolicy(const PolicyParams& params)
      : EvictingPolicy(params),
        recent_share_(option("recent_share", 0.3, 0, 1, "share of the budget that goes to the most recent tokens")) {}

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
    const std::int64_t scores = c.b * c.hq * c.attended * kScoreBytes;
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
    const std::int64_t half = c.kv(c.head_tokens) / 2;
    graph.add(CachePassShape{.kv_read = half, .kv_write = half}, "gather_keys", layer.layer);
    graph.add(CachePassShape{.kv_read = half, .kv_write = half}, "gather_values", layer.layer);
  }

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    const std::int64_t kept = pages_selected(pages_of(context_tokens, page_size), page_size) * page_size;
    return {.gpu_kv = gpu_kv_bytes(llm, kv_dtype, context_tokens, kept, page_size, dense_layers),
            .gpu_metadata = kScoreBytes * (llm.num_layers - dense_layers) * llm.num_q_heads * kept};
  }

 protected:
  std::int64_t recent_pages(std::int64_t count, int /*page_size*/) const override {
    return static_cast<std::int64_t>(recent_share_ * static_cast<double>(count) + 0.5);
  }
  void accumulate(const std::vector<float>& mass, SelectionMemory& memory) const override {
    for (std::size_t page = 0; page < mass.size(); ++page) memory.score[page] += mass[page];
  }

 private:
  double recent_share_;
};

}  // namespace

std::shared_ptr<const Policy> make_keyformer_policy(const PolicyParams& params) {
  return std::make_shared<KeyformerPolicy>(params);
}

}  // namespace retrosim
