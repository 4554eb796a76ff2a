// IceCache (ICLR 2026, arXiv 2604.10539; built on ArkVale's code): per KV head a dynamic continuous index (DCI) tree
// clusters keys, a leaf is a page of keys near each other instead of neighbours in the text; the host walks the tree
// for every query and the GPU receives the pages it does not hold. The first 2 and last 2 pages always stay on the GPU.
//
// Costs per layer and step: queries 2 Hq d bytes to the host, which waits; tree search; pages that the step before did
// not select are gathered on the host into pinned memory (2 P d e each, read and written), copied in one piece and
// scattered on the GPU; attention over the budget. The oldest window page goes to the host and into the tree every P
// steps: counted as one token a step.
//   search_every_layers = 1: IceCache; 3: IceCache(r), where an anchor layer searches for the two after it.
// The tree search is modelled: `field` = max(1.5e-3 N, 30) keys (the published field of view) compared at each of
// log(N / P) / log(1 / promotion) levels, rounded up, per query head; index size is not published and counted as the
// tree's promoted keys, promotion / (1 - promotion) of the keys in float32.
#include <cmath>

#include "model/policies/layer_counts.h"
#include "model/policies/ranking.h"
#include "model/policies/recalling.h"

namespace retrosim {
namespace {

constexpr std::int64_t kSinkPages = 2;
constexpr std::int64_t kRecentPages = 2;
constexpr double kPromotion = 0.03;
constexpr double kPageFill = 1.11;  // pages per full page's tokens, as measured by a reproduction

class IceCachePolicy final : public RankingPolicy {
 public:
  explicit IceCachePolicy(const PolicyParams& params)
      : RankingPolicy(params),
        search_every_(static_cast<std::int64_t>(
            option("search_every_layers", 1, 1, 64, "sparse layers that one tree search serves"))),
        churn_(option("churn", 0.17, 0, 1, "share of the searched pages that is new at a step, where no trace says")) {}

  std::string_view name() const override { return "icecache"; }
  bool keeps_page_summaries() const override { return false; }
  PolicyEvidence evidence() const override {
    return {.evaluated = false,
            .note =
                "recorded pages of neighbouring tokens stand for clusters of similar keys; the tree search is "
                "modelled from its published settings"};
  }

  void select(const RankedPages& ranked, int page_size, std::vector<PageId>& out) const override {
    select_with_always_kept(ranked, kSinkPages, kRecentPages, pages_selected(ranked.num_pages, page_size), out);
  }

  void select_next(const RankedPages& ranked, int page_size, SelectionMemory& memory,
                   std::vector<PageId>& out) const override {
    select(ranked, page_size, out);
    recall(ranked, out, static_cast<std::int64_t>(out.size()), Residency::last_selection, memory);
  }

  double expected_recalls(std::int64_t num_pages, int page_size) const override {
    const std::int64_t count = pages_selected(num_pages, page_size);
    if (count == num_pages) return 0;
    return churn_ * static_cast<double>(std::max<std::int64_t>(0, count - kSinkPages - kRecentPages));
  }

  void add_selection_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    if (pages_selected(layer.num_pages, layer.config.page_size) == layer.num_pages) return;
    const LayerCounts c(layer);
    const int depth = layer.layer - layer.config.first_sparse_layer();
    StepGraph::Vertex ready = *graph.last(Stream::compute);
    if (depth % search_every_ == 0) {
      const auto queries = read_back(graph, c.b * c.hq * c.d * 2, "queries", layer.layer);
      const double keys = static_cast<double>(c.b * c.hq) * keys_compared(c.context, c.page_size);
      const auto bytes = static_cast<std::int64_t>(keys * 4.0 * static_cast<double>(c.d));
      ready = graph.add_after(queries,
                              HostComputeShape{.bytes = bytes, .operations = 2.0 * keys * static_cast<double>(c.d)},
                              "tree_search", layer.layer, Stream::host);
    }
    const std::int64_t pages = c.kv(layer.recalled_pages * c.page_size);
    const auto gathered =
        graph.add_after(ready, HostComputeShape{.bytes = 2 * pages}, "host_gather", layer.layer, Stream::host);
    copy_in(graph, gathered, {.bytes = pages}, "page_recall", layer.layer);
    graph.add(CachePassShape{.kv_read = pages, .kv_write = pages}, "scatter_pages", layer.layer);
  }

  void add_after_attention_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    copy_out(graph, LayerCounts(layer).token_kv(), "page_backup", layer.layer);
  }

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    const std::int64_t sparse = llm.num_layers - dense_layers;
    const std::int64_t attended = pages_selected(pages_of(context_tokens, page_size), page_size);
    const auto keys = static_cast<double>(context_tokens * llm.num_kv_heads);
    const double index = keys * kPromotion / (1 - kPromotion) * static_cast<double>(llm.head_dim * 4);
    const double host = kPageFill * static_cast<double>(context_tokens * kv_bytes_of_layer(llm, kv_dtype));
    return {.gpu_kv = gpu_kv_bytes(llm, kv_dtype, context_tokens, attended * page_size, page_size, dense_layers),
            // Staging of the pages that come from the tree.
            .gpu_metadata = kv_bytes_of_layer(llm, kv_dtype) * page_size *
                            std::max<std::int64_t>(0, attended - kSinkPages - kRecentPages),
            .host_kv = sparse * static_cast<std::int64_t>(host),
            .host_metadata = sparse * static_cast<std::int64_t>(index)};
  }

 private:
  static double keys_compared(std::int64_t context, std::int64_t page_size) {
    const double field = std::max(1.5e-3 * static_cast<double>(context), 30.0);
    const double leaves = std::max(2.0, static_cast<double>(context) / static_cast<double>(page_size));
    return field * std::ceil(std::log(leaves) / std::log(1 / kPromotion));
  }

  std::int64_t search_every_;
  double churn_;
};

}  // namespace

std::shared_ptr<const Policy> make_icecache_policy(const PolicyParams& params) {
  return std::make_shared<IceCachePolicy>(params);
}

}  // namespace retrosim
