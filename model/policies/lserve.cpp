// LServe (MLSys 2025, arXiv 2502.14866; code mit-han-lab/omniserve): half of the KV heads are streaming heads (128 sink
// and 256 local tokens), the others select pages. A page of the cache (64 tokens in the paper) holds logical pages of
// 16 with their own min/max; a page scores the best of its logical pages. The selection serves `interval` steps.
//
// Costs per layer: when a selection is made, and the budget is not the whole context, the logical pages' min/max of the
// dense heads 2 b H_dense (N / 16) d 2, in four launches (selector, maximum over logical pages, top-k, appending the
// newest page); one fused attention over both kinds of heads. Quantised KV is --kv-cache-dtype's (paper: int4).
//
// The demand counts pages as if every KV head were a dense one; attention takes the dense heads' share of it and adds
// the streaming heads' tokens, of which nothing is ever unseen. RetroAttention finds unseen pages only when a list is
// made.
#include <array>

#include "model/policies/kept_list.h"
#include "model/policies/layer_counts.h"
#include "model/policies/ranking.h"

namespace retrosim {
namespace {

constexpr std::int64_t kSinkTokens = 128;
constexpr std::int64_t kLocalTokens = 256;
constexpr std::int64_t kLogicalPage = 16;  // tokens

class LServePolicy final : public RankingPolicy {
 public:
  explicit LServePolicy(const PolicyParams& params)
      : RankingPolicy(params),
        interval_(static_cast<std::int64_t>(option("interval", 4, 1, 1024, "steps that one selection serves"))),
        streaming_share_(option("streaming_share", 0.5, 0, 1, "share of the KV heads that are streaming heads")) {}

  std::string_view name() const override { return "lserve"; }
  bool keeps_page_summaries() const override { return true; }
  PolicyEvidence evidence() const override {
    return {.note =
                "dense heads' rule on the recorded page scores of steps that make a list (per KV head; the paper's "
                "logical pages where the trace's pages have 16 tokens); recall of attention mass takes every head "
                "for a dense one"};
  }

  void select_next(const RankedPages& ranked, int page_size, SelectionMemory& memory,
                   std::vector<PageId>& out) const override {
    select_every(interval_, pages_selected(ranked.num_pages, page_size), ranked, memory, out);
  }

  void add_selection_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    const LayerCounts c(layer);
    const std::int64_t selected = pages_selected(layer.num_pages, layer.config.page_size);
    const std::int64_t dense = dense_heads(c.hk);
    if (selected == layer.num_pages || layer.position % interval_ != 0 || dense == 0) return;
    const std::int64_t logical = c.b * pages_of(c.context, std::min(kLogicalPage, c.page_size));
    const std::int64_t pages = c.b * layer.num_pages;
    graph.add(page_score_shape(layer, logical, dense * (c.hq / c.hk), dense), "page_score", layer.layer);
    graph.add(CachePassShape{.other_read = logical * dense * 4,
                             .other_write = pages * dense * 4,
                             .operations = static_cast<double>(logical * dense)},
              "logical_page_max", layer.layer);
    graph.add(TopKShape{.pages = pages, .selected = c.b * selected, .batch = c.b, .num_kv_heads = dense}, "top_k",
              layer.layer);
    graph.add(CachePassShape{.other_read = c.b * selected * dense * 4, .other_write = c.b * selected * dense * 4},
              "append_newest_page", layer.layer);
  }

  void shape_attention(const LayerContext& layer, AttentionShape& attention) const override {
    const std::int64_t heads = attention.num_kv_heads;
    const std::int64_t dense = dense_heads(heads);
    const std::int64_t streaming = attention.batch * (heads - dense);
    const std::int64_t tokens = std::min(layer.context, streaming_tokens(attention.page_size));
    const auto share = [&](std::int64_t count) { return count * dense / heads; };
    attention.pages_loaded = share(attention.pages_loaded) + streaming * pages_of(tokens, attention.page_size);
    attention.tokens_loaded = share(attention.tokens_loaded) + streaming * tokens;
    attention.unseen_visits = share(attention.unseen_visits);
    attention.unseen_union = share(attention.unseen_union);
  }

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    const std::int64_t all = pages_of(context_tokens, page_size) * page_size;
    const std::int64_t streamed = std::min(all, streaming_tokens(page_size));
    const std::int64_t dense = dense_heads(llm.num_kv_heads);
    const std::int64_t sparse = llm.num_layers - dense_layers;
    const std::int64_t vectors =
        llm.num_kv_heads * all * dense_layers + sparse * (dense * all + (llm.num_kv_heads - dense) * streamed);
    const std::int64_t logical = all / std::min<std::int64_t>(kLogicalPage, page_size);
    return {.gpu_kv = kv_bytes(kv_dtype, vectors, llm.head_dim),
            .gpu_metadata = sparse * logical * 2 * dense * llm.head_dim * 2};
  }

 private:
  /// KV heads, of `heads`, that select pages; rounded up, as the GPU with most of them sets the pace.
  std::int64_t dense_heads(std::int64_t heads) const {
    return heads - static_cast<std::int64_t>(streaming_share_ * static_cast<double>(heads));
  }
  static std::int64_t streaming_tokens(std::int64_t page_size) { return kSinkTokens + kLocalTokens + page_size; }

  std::int64_t interval_;
  double streaming_share_;
};

}  // namespace

std::shared_ptr<const Policy> make_lserve_policy(const PolicyParams& params) {
  return std::make_shared<LServePolicy>(params);
}

}  // namespace retrosim
