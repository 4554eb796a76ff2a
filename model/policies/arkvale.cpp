// ArkVale (NeurIPS 2024; code pku-liang/ArkVale, source/arkvale/infer_state.py, arkvale_cpp/src): the whole cache lies
// in pinned host memory, up to `capacity` pages of each layer in GPU memory. Pages are ranked by digests of two vectors
// (centre of the page's bounding box +- mean half width), scored as Quest's; the released code averages over all heads
// of the layer. Pages that are selected and not resident are recalled, the lowest ranked residents leave. The first 2
// pages and the last 2 always stay.
//
//   paper     attention over the k selected pages; capacity = capacity_ratio * k (paper, section 6: k <= c / 2)
//   released  attention over everything that is resident (use_sparse_attn is asserted false): the budget is the
//             capacity, and k = capacity / capacity_ratio pages are ranked into it
//
// Costs per layer: estimate (digests 2 b Hk M d e), mean over heads, top-k; the ids go to the host, which waits and
// starts one copy of 2 P Hk d e bytes per recalled page (ours hands them over in one batch), all before attention; and
// the backup of filled pages, counted as one token a step (w tokens under a window: a page in host memory is copied
// again when one of its tokens changes).
#include <array>

#include "model/policies/layer_counts.h"
#include "model/policies/ranking.h"
#include "model/policies/recalling.h"

namespace retrosim {
namespace {

class ArkvalePolicy final : public RankingPolicy {
 public:
  explicit ArkvalePolicy(const PolicyParams& params)
      : RankingPolicy(params),
        capacity_ratio_(option("capacity_ratio", 2, 1, 1024, "pages in GPU memory per selected page")),
        sinks_(static_cast<std::int64_t>(option("sink_pages", 2, 0, 1024, "first pages, always attended"))),
        recent_(static_cast<std::int64_t>(option("recent_pages", 2, 1, 1024, "last pages, always attended"))) {}

  std::string_view name() const override { return "arkvale"; }
  std::span<const PolicyVariant> variants() const override {
    static constexpr std::array kVariants{PolicyVariant::paper, PolicyVariant::released};
    return kVariants;
  }
  bool keeps_page_summaries() const override { return true; }
  PolicyEvidence evidence() const override {
    return {.note =
                "residency and recalls replayed on the recorded min/max scores, which stand for ArkVale's digests, "
                "per KV head instead of per layer"};
  }

  void select_next(const RankedPages& ranked, int page_size, SelectionMemory& memory,
                   std::vector<PageId>& out) const override {
    const std::int64_t best = pages_ranked(ranked.num_pages, page_size);
    const std::int64_t capacity = pages_resident(ranked.num_pages, page_size);
    select_with_always_kept(ranked, sinks_, recent_, best, out);
    recall(ranked, out, capacity, Residency::best_ranked, memory);
    if (variant() == PolicyVariant::paper) return;
    out.clear();
    for (std::size_t page = 0; page < memory.resident.size(); ++page) {
      if (memory.resident[page] != 0) out.push_back(static_cast<PageId>(page));
    }
  }

  /// Without a trace: the recalls of the paper's Fig 4b, 10 to 14 % of k per layer at capacity k and 1 to 10 pages in
  /// 30 layers of 32 to 64 selected ones at capacity 2 k; none when everything fits.
  double expected_recalls(std::int64_t num_pages, int page_size) const override {
    if (pages_resident(num_pages, page_size) == num_pages) return 0;
    const auto best = static_cast<double>(pages_ranked(num_pages, page_size));
    return best * (capacity_ratio_ < 2 ? 0.12 : 0.005);
  }

  void add_selection_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    if (pages_selected(layer.num_pages, layer.config.page_size) == layer.num_pages) return;  // nothing to choose
    const LayerCounts c(layer);
    const std::int64_t best = pages_ranked(layer.num_pages, layer.config.page_size);
    const std::int64_t pages = c.b * layer.num_pages;
    graph.add(page_score_shape(layer, pages, c.hq, c.hk), "page_score", layer.layer);
    graph.add(
        CachePassShape{
            .other_read = pages * c.hq * 2, .other_write = pages * 2, .operations = static_cast<double>(pages * c.hq)},
        "score_mean", layer.layer);
    graph.add(TopKShape{.pages = pages, .selected = c.b * best, .batch = c.b, .num_kv_heads = 1}, "top_k", layer.layer);
    const auto ready = read_back(graph, 4 * c.b * best, "recall_ids", layer.layer);
    copy_in(graph, ready,
            {.bytes = c.kv(layer.recalled_pages * c.page_size),
             .transfers = (layer.recalled_pages + c.hk - 1) / c.hk,
             .in_one_batch = layer.config.implementation.host_issue_s <= 0},
            "page_recall", layer.layer);
  }

  void add_after_attention_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    copy_out(graph, LayerCounts(layer).token_kv() * layer.config.rows_per_sequence(layer.layer), "page_backup",
             layer.layer);
  }

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    const std::int64_t pages = pages_of(context_tokens, page_size);
    const std::int64_t resident = pages_resident(pages, page_size);
    const std::int64_t sparse = llm.num_layers - dense_layers;
    const std::int64_t digests = 2LL * llm.num_kv_heads * llm.head_dim * 2;
    return {.gpu_kv = gpu_kv_bytes(llm, kv_dtype, context_tokens, resident * page_size, page_size, dense_layers),
            .gpu_metadata = sparse * (pages * digests + 4 * (resident + pages)),
            .host_kv = sparse * pages * page_size * kv_bytes_of_layer(llm, kv_dtype)};
  }

 private:
  /// k, pages that the ranking chooses.
  std::int64_t pages_ranked(std::int64_t num_pages, int page_size) const {
    const std::int64_t attended = pages_selected(num_pages, page_size);
    if (variant() == PolicyVariant::paper) return attended;
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(attended) / capacity_ratio_));
  }
  /// Pages in GPU memory.
  std::int64_t pages_resident(std::int64_t num_pages, int page_size) const {
    const std::int64_t attended = pages_selected(num_pages, page_size);
    if (variant() == PolicyVariant::released) return attended;
    return std::min(num_pages, static_cast<std::int64_t>(static_cast<double>(attended) * capacity_ratio_));
  }

  double capacity_ratio_;
  std::int64_t sinks_;
  std::int64_t recent_;
};

}  // namespace

std::shared_ptr<const Policy> make_arkvale_policy(const PolicyParams& params) {
  return std::make_shared<ArkvalePolicy>(params);
}

}  // namespace retrosim
