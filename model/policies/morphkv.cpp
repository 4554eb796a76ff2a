// MorphKV (arXiv 2503.00979; code ghadiaravi13/MorphKV, morph_cache.py): per KV head, the last R tokens and the distant
// ones that those R queries attend to most (masses fused by their sum).
//
// Costs per layer beside attention over n = C + R + 1 tokens: weights b Hq n e written and appended to the logits of
// the last R queries; the fusion reads Hq R n e of them; top-k; and
//   released  index_select of K, of V and of the logits, each read and written whole, and three `nonzero` calls that
//             each make the host wait for the GPU
//   ideal     the new token overwrites the evicted slot
// State: the logits, L Hq R n e.
#include <array>

#include "model/policies/evicting.h"
#include "model/policies/layer_counts.h"
#include "model/policies/recalling.h"

namespace retrosim {
namespace {

class MorphKvPolicy final : public EvictingPolicy {
 public:
  explicit MorphKvPolicy(const PolicyParams& params)
      : EvictingPolicy(params),
        recent_queries_(static_cast<std::int64_t>(
            option("recent_queries", 32, 1, 1024, "R: last tokens, always kept and the ones that vote"))) {}

  std::string_view name() const override { return "morphkv"; }
  std::span<const PolicyVariant> variants() const override {
    static constexpr std::array kVariants{PolicyVariant::ideal, PolicyVariant::released};
    return kVariants;
  }
  PolicyEvidence evidence() const override {
    return {.note =
                "by recorded attention mass summed over the last R replayed queries, pages instead of tokens, per KV "
                "head; renormalised over the pages still held"};
  }

  void add_after_attention_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    const LayerCounts c(layer);
    const std::int64_t logits = recent_queries_ * c.weights();
    graph.add(CachePassShape{.other_read = c.weights(), .other_write = 2 * c.weights()}, "append_logits", layer.layer);
    graph.add(CachePassShape{.other_read = logits,
                             .other_write = c.b * c.hk * c.attended * 4,
                             .operations = static_cast<double>(recent_queries_ * c.b * c.hq * c.attended)},
              "fuse_logits", layer.layer);
    graph.add(TopKShape{.pages = c.b * c.attended, .selected = c.b * c.attended, .batch = c.b, .num_kv_heads = c.hk},
              "evict_top_k", layer.layer);
    if (variant() == PolicyVariant::ideal) return;
    const std::int64_t half = c.kv(c.head_tokens) / 2;
    const std::array<CachePassShape, 3> copies{{{.kv_read = half, .kv_write = half},
                                                {.kv_read = half, .kv_write = half},
                                                {.other_read = logits, .other_write = logits}}};
    static constexpr std::array kNames{"select_keys", "select_values", "select_logits"};
    for (std::size_t i = 0; i < copies.size(); ++i) {
      // nonzero's result has a size that only the GPU knows.
      graph.await(Stream::compute, read_back(graph, 8, "nonzero_count", layer.layer));
      graph.add(copies[i], kNames[i], layer.layer);
    }
  }

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    PolicyState state = EvictingPolicy::state(llm, context_tokens, page_size, kv_dtype, dense_layers);
    state.gpu_metadata = (llm.num_layers - dense_layers) * llm.num_q_heads * recent_queries_ *
                         kept_tokens(context_tokens, page_size) * kWeightBytes;
    return state;
  }

 protected:
  std::int64_t recent_pages(std::int64_t /*count*/, int page_size) const override {
    return pages_of(recent_queries_, page_size);
  }
  void accumulate(const std::vector<float>& mass, SelectionMemory& memory) const override {
    if (static_cast<std::int64_t>(memory.recent_mass.size()) == recent_queries_) {
      const std::vector<float>& oldest = memory.recent_mass.front();
      for (std::size_t page = 0; page < oldest.size(); ++page) memory.score[page] -= oldest[page];
      memory.recent_mass.erase(memory.recent_mass.begin());
    }
    for (std::size_t page = 0; page < mass.size(); ++page) memory.score[page] += mass[page];
    memory.recent_mass.push_back(mass);
  }

 private:
  std::int64_t recent_queries_;
};

}  // namespace

std::shared_ptr<const Policy> make_morphkv_policy(const PolicyParams& params) {
  return std::make_shared<MorphKvPolicy>(params);
}

}  // namespace retrosim
