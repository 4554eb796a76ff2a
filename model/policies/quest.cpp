// Quest (ICML 2024, arXiv 2406.10774): pages ranked by an upper bound of q.k from each page's element-wise key minima
// and maxima; the best k - 1 and the page being filled are loaded. Selection is per KV head (method.md).
#include <algorithm>
#include <string>

#include "model/error.h"
#include "model/policies/layer_counts.h"
#include "model/policies/ranking.h"
#include "model/policy.h"

namespace retrosim {
namespace {

class QuestPolicy final : public RankingPolicy {
 public:
  explicit QuestPolicy(const PolicyParams& params) : RankingPolicy(params) {}

  std::string_view name() const override { return "quest"; }
  PolicyEvidence evidence() const override {
    return {.note = "per KV head on the recorded scores (the released kernels select per query head)"};
  }
  bool keeps_page_summaries() const override { return true; }

  void select(const RankedPages& ranked, int page_size, std::vector<PageId>& out) const override {
    const auto count = static_cast<std::size_t>(pages_selected(ranked.num_pages, page_size));
    const auto open = static_cast<PageId>(ranked.num_pages - 1);
    out.clear();
    for (const PageId page : ranked.pages) {
      if (out.size() + 1 == count) break;
      if (page != open) out.push_back(page);
    }
    out.push_back(open);
    if (out.size() < count) {
      throw InputError("", "budget", std::to_string(count) + " pages",
                       "at most the " + std::to_string(ranked.pages.size()) + " ranked pages that the trace recorded");
    }
  }

  /// Scores every page and takes the best; with a full budget there is nothing to choose (Quest's released controller
  /// takes the dense path as well).
  void add_selection_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    const std::int64_t batch = layer.config.batch;
    const std::int64_t selected = pages_selected(layer.num_pages, layer.config.page_size);
    if (selected == layer.num_pages) return;
    graph.add(page_score_shape(layer, batch * layer.num_pages, layer.q_heads, layer.kv_heads), "page_score",
              layer.layer);
    graph.add(TopKShape{.pages = batch * layer.num_pages,
                        .selected = batch * selected,
                        .batch = batch,
                        .num_kv_heads = layer.kv_heads},
              "top_k", layer.layer);
  }

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    const std::int64_t pages = (context_tokens + page_size - 1) / page_size;
    const std::int64_t summary = 2LL * llm.num_kv_heads * llm.head_dim * 2;  // min and max, 2 bytes per element
    return {.gpu_kv = pages * page_size * llm.kv_bytes_per_token(kv_dtype),
            .gpu_metadata = (llm.num_layers - dense_layers) * pages * summary};
  }
};

}  // namespace

std::shared_ptr<const Policy> make_quest_policy(const PolicyParams& params) {
  return std::make_shared<QuestPolicy>(params);
}

}  // namespace retrosim
