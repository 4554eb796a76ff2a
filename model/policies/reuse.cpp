// Quest with its selection reused: pages are ranked every `interval` steps (those whose position is a multiple of it)
// and the list serves until the next, as in LServe (arXiv 2502.14866) and, across layers, TidalDecode and HShare. The
// page being filled is always attended to; where it is new since the list was made, the list's worst page makes room.
//
// Costs per layer: as Quest's, estimate and top-k only when the list is made. State: Quest's and the list, 4 b Hk k.
// RetroAttention finds unseen pages only in steps that make a new list.
#include <algorithm>

#include "model/policies/kept_list.h"
#include "model/policies/layer_counts.h"
#include "model/policies/ranking.h"

namespace retrosim {
namespace {

class ReusePolicy final : public RankingPolicy {
 public:
  explicit ReusePolicy(const PolicyParams& params)
      : RankingPolicy(params),
        interval_(static_cast<std::int64_t>(option("interval", 4, 1, 1024, "steps that one selection serves"))) {}

  std::string_view name() const override { return "reuse"; }
  bool keeps_page_summaries() const override { return true; }
  PolicyEvidence evidence() const override {
    return {.note = "Quest's rule on the recorded scores of the steps that make a new list"};
  }

  void select_next(const RankedPages& ranked, int page_size, SelectionMemory& memory,
                   std::vector<PageId>& out) const override {
    select_every(interval_, pages_selected(ranked.num_pages, page_size), ranked, memory, out);
  }

  void add_selection_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    const LayerCounts c(layer);
    const std::int64_t selected = pages_selected(layer.num_pages, layer.config.page_size);
    if (selected == layer.num_pages || layer.position % interval_ != 0) return;
    graph.add(page_score_shape(layer, c.b * layer.num_pages, c.hq, c.hk), "page_score", layer.layer);
    graph.add(TopKShape{.pages = c.b * layer.num_pages, .selected = c.b * selected, .batch = c.b, .num_kv_heads = c.hk},
              "top_k", layer.layer);
  }

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    const std::int64_t pages = pages_of(context_tokens, page_size);
    const std::int64_t summary = 2LL * llm.num_kv_heads * llm.head_dim * 2;  // min and max, 2 bytes per element
    const std::int64_t list = 4LL * llm.num_kv_heads * pages_selected(pages, page_size);
    return {.gpu_kv = pages * page_size * llm.num_layers * kv_bytes_of_layer(llm, kv_dtype),
            .gpu_metadata = (llm.num_layers - dense_layers) * (pages * summary + list)};
  }

 private:
  std::int64_t interval_;
};

}  // namespace

std::shared_ptr<const Policy> make_reuse_policy(const PolicyParams& params) {
  return std::make_shared<ReusePolicy>(params);
}

}  // namespace retrosim
