// SnapKV (arXiv 2404.14469; code FasterDecoding/SnapKV, snapkv_utils.py): once, at the end of the prompt, the tokens
// that its last `window` queries attend to most are kept together with those queries' own; what is generated afterwards
// accumulates. Decoding has no extra operations.
//
//   ideal     one set per KV head, the cache stays Hk heads wide
//   released  mistral_hijack_4_37.py repeats K and V to Hq heads before compressing: G times the memory, the appended
//             bytes and the bytes that attention reads
#include <array>

#include "model/policies/evicting.h"
#include "model/policies/layer_counts.h"

namespace retrosim {
namespace {

class SnapKvPolicy final : public EvictingPolicy {
 public:
  explicit SnapKvPolicy(const PolicyParams& params)
      : EvictingPolicy(params),
        window_(option("window_tokens", 32, 1, 4096, "last prompt tokens, always kept and the ones that vote")) {}

  std::string_view name() const override { return "snapkv"; }
  std::span<const PolicyVariant> variants() const override {
    static constexpr std::array kVariants{PolicyVariant::ideal, PolicyVariant::released};
    return kVariants;
  }
  PolicyEvidence evidence() const override {
    return {.evaluated = false,
            .note =
                "the first replayed query's masses stand for the votes of the last prompt queries; pages instead of "
                "pooled tokens; the budget is what is held when the prompt ends"};
  }

  void add_selection_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    if (variant() == PolicyVariant::ideal) return;
    const LayerCounts c(layer);
    graph.add(CachePassShape{.kv_read = c.token_kv(), .kv_write = c.kv(c.b * (c.hq - c.hk))}, "repeat_kv", layer.layer);
  }

  void shape_attention(const LayerContext& /*layer*/, AttentionShape& attention) const override {
    if (variant() == PolicyVariant::ideal) return;
    const std::int64_t group = attention.query_group();
    attention.num_kv_heads = attention.num_q_heads;
    attention.pages_loaded *= group;
    attention.tokens_loaded *= group;
  }

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    const std::int64_t kept = kept_tokens(context_tokens, page_size);
    PolicyState state = EvictingPolicy::state(llm, context_tokens, page_size, kv_dtype, dense_layers);
    if (variant() == PolicyVariant::released) {
      state.gpu_kv += (llm.query_group() - 1) * gpu_kv_bytes(llm, kv_dtype, context_tokens, kept, page_size, 0) *
                      (llm.num_layers - dense_layers) / llm.num_layers;
    }
    return state;
  }

 protected:
  std::int64_t recent_pages(std::int64_t /*count*/, int page_size) const override {
    return pages_of(static_cast<std::int64_t>(window_), page_size);
  }
  bool evicts_while_decoding() const override { return false; }

 private:
  double window_;
};

}  // namespace

std::shared_ptr<const Policy> make_snapkv_policy(const PolicyParams& params) {
  return std::make_shared<SnapKvPolicy>(params);
}

}  // namespace retrosim
