// PQCache (SIGMOD 2025, arXiv 2407.12820; code HugoZHL/PQCache, vq_method/retrieval_based): keys of the context's
// middle are product-quantised into m sub-vectors of 2^bits centroids each; per KV head the tokens with the best
// approximate score are attended to, beside 32 sink tokens and a local window of half the budget. K and V lie in host
// memory, with a block cache of `cache_tokens` in GPU memory (least frequently used leaves).
//
// Costs per layer and step (N context tokens, k' tokens recalled per KV head):
//   copy to the GPU of the codes of the next sparse layer, all of them every step, while this layer runs; the first
//     sparse layer's are waited for. Bytes b Hk N m bits / 8 (paper) or 8 b Hk N m (released: int64)
//   tables 2 b Hq 2^bits d FLOPs; scores, softmax, sum over the query group; top-k over N per KV head
//   hit test; ids of misses to the host, which waits, gathers the rows (read and write) and copies them to the GPU
//   attention over sinks, window and selected tokens (released: on K, V repeated to Hq heads first)
//   the token that leaves the window goes to the host and is encoded
// Refills of the block cache (whole 128-token blocks, overlapped with later work) are not priced: their rate is not
// published. Clustering happens at prefill.
#include <array>

#include "model/policies/layer_counts.h"
#include "model/policies/ranking.h"
#include "model/policies/recalling.h"

namespace retrosim {
namespace {

constexpr std::int64_t kSinkTokens = 32;
constexpr double kLocalShare = 0.5;  // of the budget

class PqCachePolicy final : public RankingPolicy {
 public:
  explicit PqCachePolicy(const PolicyParams& params)
      : RankingPolicy(params),
        subvectors_(static_cast<std::int64_t>(option("subvectors", 2, 1, 64, "m: parts that a key is split into"))),
        bits_(static_cast<std::int64_t>(option("bits", 6, 1, 16, "per code: 2^bits centroids per part"))),
        cache_tokens_(static_cast<std::int64_t>(
            option("cache_tokens", 4096, 0, 1 << 20, "tokens of the GPU block cache per KV head", true))),
        miss_rate_(
            option("miss_rate", 0.4, 0, 1, "of the block cache, where no trace says (published hit rate: 0.6)")) {}

  std::string_view name() const override { return "pqcache"; }
  std::span<const PolicyVariant> variants() const override {
    static constexpr std::array kVariants{PolicyVariant::paper, PolicyVariant::released};
    return kVariants;
  }
  bool keeps_page_summaries() const override { return false; }
  PolicyEvidence evidence() const override {
    return {.evaluated = false,
            .note =
                "the recorded page ranking stands for the ranking of tokens by product-quantised scores; recalls are "
                "replayed on pages with a least-frequently-used cache"};
  }

  void select(const RankedPages& ranked, int page_size, std::vector<PageId>& out) const override {
    const std::int64_t count = pages_selected(ranked.num_pages, page_size);
    select_with_always_kept(ranked, pages_of(kSinkTokens, page_size), local_pages(count), count, out);
  }

  void select_next(const RankedPages& ranked, int page_size, SelectionMemory& memory,
                   std::vector<PageId>& out) const override {
    select(ranked, page_size, out);
    recall(ranked, out, pages_resident(ranked.num_pages, page_size), Residency::most_used, memory);
  }

  double expected_recalls(std::int64_t num_pages, int page_size) const override {
    if (pages_resident(num_pages, page_size) == num_pages) return 0;
    const std::int64_t count = pages_selected(num_pages, page_size);
    const std::int64_t always = pages_of(kSinkTokens, page_size) + local_pages(count);
    return miss_rate_ * static_cast<double>(std::max<std::int64_t>(0, count - always));
  }

  void add_selection_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    const std::int64_t selected = pages_selected(layer.num_pages, layer.config.page_size);
    if (selected == layer.num_pages) return;
    const LayerCounts c(layer);
    const std::int64_t codes = code_bytes(c.b * c.hk * c.context);
    const bool first = layer.layer == layer.config.first_sparse_layer();
    const auto arrived = first ? graph.add_after(*graph.last(Stream::compute), HostToDeviceShape{.bytes = codes},
                                                 "codes", layer.layer, Stream::copy_in)
                               : *graph.last(Stream::copy_in);
    add_scoring(layer, c, selected, codes, arrived, graph);

    const std::int64_t recalled = c.page_size * layer.recalled_pages;  // tokens
    graph.add(CachePassShape{.other_read = c.head_tokens * 4, .other_write = c.head_tokens * 4}, "cache_lookup",
              layer.layer);
    const auto ids = read_back(graph, 4 * recalled, "miss_ids", layer.layer);
    const auto gathered =
        graph.add_after(ids, HostComputeShape{.bytes = 2 * c.kv(recalled)}, "host_gather", layer.layer, Stream::host);
    copy_in(graph, gathered, {.bytes = c.kv(recalled), .transfers = 2}, "token_recall", layer.layer);
    if (has_later_sparse_layer(layer)) {
      graph.add_after(ids, HostToDeviceShape{.bytes = codes}, "codes_of_next_layer", layer.layer, Stream::copy_in);
    }
    if (variant() == PolicyVariant::released) {
      const std::int64_t read = c.kv(c.head_tokens);
      graph.add(CachePassShape{.kv_read = read, .kv_write = read * (c.hq / c.hk)}, "repeat_kv", layer.layer);
    }
  }

  void shape_attention(const LayerContext& layer, AttentionShape& attention) const override {
    if (variant() == PolicyVariant::paper || layer.pages_loaded == all_pages(layer)) return;
    const std::int64_t group = attention.query_group();
    attention.num_kv_heads = attention.num_q_heads;
    attention.pages_loaded *= group;
    attention.tokens_loaded *= group;
    attention.unseen_visits *= group;
    attention.unseen_union *= group;
  }

  void add_after_attention_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    const LayerCounts c(layer);
    graph.add(CachePassShape{.kv_read = c.token_kv() / 2,
                             .index_read = c.b * c.hk * centroids() * c.d * 2,
                             .index_write = code_bytes(c.b * c.hk),
                             .operations = 2.0 * static_cast<double>(c.b * c.hk * centroids() * c.d)},
              "encode_key", layer.layer);
    copy_out(graph, c.token_kv(), "token_backup", layer.layer);
  }

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    const std::int64_t pages = pages_of(context_tokens, page_size);
    const std::int64_t sparse = llm.num_layers - dense_layers;
    const std::int64_t resident = pages_resident(pages, page_size) * page_size;
    const std::int64_t codes = code_bytes(context_tokens * llm.num_kv_heads);
    // Centroids of every layer; codes of the layer at work and of the next one.
    return {.gpu_kv = gpu_kv_bytes(llm, kv_dtype, context_tokens, resident, page_size, dense_layers),
            .gpu_metadata =
                sparse * llm.num_kv_heads * centroids() * llm.head_dim * 2 + std::min<std::int64_t>(2, sparse) * codes,
            .host_kv = sparse * context_tokens * kv_bytes_of_layer(llm, kv_dtype),
            .host_metadata = sparse * codes};
  }

 private:
  static std::int64_t all_pages(const LayerContext& layer) {
    return layer.config.batch * layer.kv_heads * layer.num_pages;
  }
  static bool has_later_sparse_layer(const LayerContext& layer) {
    for (int later = layer.layer + 1; later < layer.config.llm.num_layers; ++later) {
      if (layer.config.is_sparse(later)) return true;
    }
    return false;
  }
  std::int64_t centroids() const { return std::int64_t{1} << bits_; }
  std::int64_t local_pages(std::int64_t count) const {
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(kLocalShare * static_cast<double>(count)));
  }
  /// Codes of `vectors` (token, KV head) pairs: bits packed (paper), or one int64 per code (released).
  std::int64_t code_bytes(std::int64_t vectors) const {
    return variant() == PolicyVariant::released ? 8 * vectors * subvectors_ : (vectors * subvectors_ * bits_ + 7) / 8;
  }
  /// Sinks, window and block cache.
  std::int64_t pages_resident(std::int64_t num_pages, int page_size) const {
    const std::int64_t always = pages_of(kSinkTokens, page_size) + local_pages(pages_selected(num_pages, page_size));
    return std::min(num_pages, always + cache_tokens_ / page_size);
  }

  void add_scoring(const LayerContext& layer, const LayerCounts& c, std::int64_t selected, std::int64_t codes,
                   StepGraph::Vertex arrived, StepGraphBuilder& graph) const {
    const std::int64_t entries = c.b * c.hq * centroids() * subvectors_;  // of the tables, float32
    graph.add(CachePassShape{.index_read = c.b * c.hk * centroids() * c.d * 2,
                             .other_read = c.b * c.hq * c.d * 2,
                             .other_write = entries * 4,
                             .operations = 2.0 * static_cast<double>(c.b * c.hq * centroids() * c.d)},
              "pq_tables", layer.layer);
    const std::int64_t scores = c.b * c.hq * c.context;
    graph.await(Stream::compute, arrived);
    graph.add(CachePassShape{.index_read = codes,
                             .other_read = entries * 4,
                             .other_write = scores * 4,
                             .operations = static_cast<double>(scores * subvectors_)},
              "pq_scores", layer.layer);
    graph.add(CachePassShape{.other_read = scores * 4,
                             .other_write = c.b * c.hk * c.context * 4,
                             .operations = 4.0 * static_cast<double>(scores)},
              "softmax_and_group_sum", layer.layer);
    graph.add(
        TopKShape{
            .pages = c.b * c.context, .selected = c.b * selected * c.page_size, .batch = c.b, .num_kv_heads = c.hk},
        "top_k", layer.layer);
  }

  std::int64_t subvectors_;
  std::int64_t bits_;
  std::int64_t cache_tokens_;
  double miss_rate_;
};

}  // namespace

std::shared_ptr<const Policy> make_pqcache_policy(const PolicyParams& params) {
  return std::make_shared<PqCachePolicy>(params);
}

}  // namespace retrosim
