// MagicPIG (ICLR 2025, arXiv 2410.16179; code Infini-AI-Lab/MagicPIG, models/attnserver.py, library/lsh): keys are
// hashed into L tables of K bits; a key is sampled for a query when they collide in at least two tables, and weighted
// by the inverse of its sampling probability. Sampling is per query head, tables are per KV head, and the host does
// both the lookup and the attention over what is sampled. The GPU attends to 4 sinks, 64 local tokens and up to 256
// generated ones.
//
// Costs per layer and step (N context tokens; n sampled per query head, the budget):
//   hash GEMM 2 b Hq d K L FLOPs and packing; codes b Hq L 4 and queries b Hq d 2 to the host, which waits for them
//   host: hit counts b Hq N bytes, buckets L N / 2^K ids of 2 (N <= 64k) or 4 bytes per query head, gathered keys and
//     values 2 n d 2 bytes and 4 n d FLOPs per query head
//   GPU attention over the local tokens runs meanwhile; host outputs b Hq (2 d + 4) come back and are merged
// Time per layer is thus max(GPU local attention, host) + copy + merge. The default budget of (K, L) = (10, 150) is
// 0.02.
//
//   paper     one kernel each to hash, pack and merge; keys and values gathered at the host's streaming bandwidth
//   released  the hash, the cache update and the merge are PyTorch operations (kEager*), and the host reaches
//             kGatherShare of its bandwidth on the rows that it gathers
//
// RetroAttention is not defined on it: unions of two weighted samples are not the importance-weighted estimate.
#include <array>
#include <cmath>
#include <string>

#include "model/error.h"
#include "model/policies/layer_counts.h"
#include "model/policies/ranking.h"
#include "model/policies/recalling.h"

namespace retrosim {
namespace {

constexpr std::int64_t kSinkTokens = 4;
constexpr std::int64_t kLocalTokens = 64;
constexpr std::int64_t kGeneratedTokens = 256;
// Launches of the released code: a third party finds 0.378, 0.062 and 0.112 ms a layer for the query hash, the cache
// update and the merge (ParisKV's comparison, 128k), which at the 17 us of an eager operation are 22, 4 and 7.
constexpr int kEagerHashOps = 22;
constexpr int kEagerUpdateOps = 4;
constexpr int kEagerMergeOps = 7;
// Random rows of 256 bytes: a sequence more costs 16.3 ms for 30 sparse layers of 37 MB between batch 2 and 18 of
// MagicPIG's throughput figure (L20 and Xeon 8563C, K=10, L=150): 68 GB/s of the 200 GB/s that the paper states.
constexpr double kGatherShare = 0.34;
constexpr std::int64_t kGpuTokens = kSinkTokens + kLocalTokens + kGeneratedTokens;

class MagicPigPolicy final : public RankingPolicy {
 public:
  explicit MagicPigPolicy(const PolicyParams& params)
      : RankingPolicy(params),
        bits_(static_cast<std::int64_t>(option("lsh_bits", 10, 1, 24, "K: bits per hash table"))),
        tables_(static_cast<std::int64_t>(option("lsh_tables", 150, 1, 4096, "L: hash tables"))) {}

  std::string_view name() const override { return "magicpig"; }
  std::span<const PolicyVariant> variants() const override {
    static constexpr std::array kVariants{PolicyVariant::paper, PolicyVariant::released};
    return kVariants;
  }
  bool keeps_page_summaries() const override { return false; }
  PolicyEvidence evidence() const override {
    return {.evaluated = false,
            .note =
                "the budget is the sampled share; the best ranked pages stand for the random sample, whose keys and "
                "collisions no trace records"};
  }

  void validate(const DecodeConfig& config) const override {
    if (config.window > 1) {
      throw InputError("", "window", std::to_string(config.window),
                       "1 with policy magicpig: its attention is an importance-weighted estimate over keys sampled for "
                       "one query, and the union of two queries' samples is not such an estimate");
    }
  }

  void select(const RankedPages& ranked, int page_size, std::vector<PageId>& out) const override {
    const std::int64_t count = pages_selected(ranked.num_pages, page_size);
    select_with_always_kept(ranked, pages_of(kSinkTokens, page_size), pages_of(kLocalTokens, page_size), count, out);
  }

  void add_selection_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    const LayerCounts c(layer);
    const std::int64_t heads = c.b * c.hq;
    add_eager(layer, kEagerUpdateOps + kEagerHashOps, graph);
    graph.add(MatmulShape{.m = heads, .n = bits_ * tables_, .k = c.d}, "lsh_hash", layer.layer);
    graph.add(CachePassShape{.other_read = heads * bits_ * tables_ * 2, .other_write = heads * tables_ * 4}, "lsh_pack",
              layer.layer);
    const auto ready = read_back(graph, heads * (tables_ * 4 + c.d * 2), "codes_and_queries", layer.layer);

    const auto sampled = heads * c.attended;  // keys, all query heads
    const std::int64_t id_bytes = c.context <= 65536 ? 2 : 4;
    const double bucket_ids = static_cast<double>(tables_ * c.context) / std::exp2(static_cast<double>(bits_));
    const std::int64_t lookup = heads * (c.context + std::llround(bucket_ids) * id_bytes);
    const auto host = graph.add_after(ready,
                                      HostComputeShape{.bytes = lookup + 2 * sampled * c.d * 2,
                                                       .operations = 4.0 * static_cast<double>(sampled * c.d),
                                                       .bandwidth_share = released() ? kGatherShare : 1.0},
                                      "host_sampled_attention", layer.layer, Stream::host);
    graph.add_after(host, HostToDeviceShape{.bytes = heads * (c.d * 2 + 4), .transfers = 2}, "host_outputs",
                    layer.layer, Stream::copy_in);
  }

  void shape_attention(const LayerContext& layer, AttentionShape& attention) const override {
    const std::int64_t tokens = std::min(layer.context, kGpuTokens);
    attention.tokens_loaded = layer.config.batch * layer.kv_heads * tokens;
    attention.pages_loaded = layer.config.batch * layer.kv_heads * pages_of(tokens, layer.config.page_size);
  }

  void add_after_attention_ops(const LayerContext& layer, StepGraphBuilder& graph) const override {
    const LayerCounts c(layer);
    const std::int64_t partial = c.b * c.hq * (c.d * 2 + 4);
    graph.await(Stream::compute, *graph.last(Stream::copy_in));
    add_eager(layer, kEagerMergeOps - 1, graph);
    graph.add(CachePassShape{.other_read = 2 * partial,
                             .other_write = partial,
                             .operations = 4.0 * static_cast<double>(c.b * c.hq * c.d)},
              "merge_host_outputs", layer.layer);
  }

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    const std::int64_t sparse = llm.num_layers - dense_layers;
    const std::int64_t id_bytes = context_tokens <= 65536 ? 2 : 4;
    const std::int64_t norms = 4 * context_tokens * llm.num_kv_heads;
    const std::int64_t tables = llm.num_kv_heads * tables_ * context_tokens * id_bytes;
    const std::int64_t buckets = 2 * llm.num_kv_heads * tables_ * (std::int64_t{1} << bits_) * 4;
    const std::int64_t hit_counts = llm.num_q_heads * context_tokens;
    return {.gpu_kv = gpu_kv_bytes(llm, kv_dtype, context_tokens, kGpuTokens, page_size, dense_layers),
            .gpu_metadata = llm.head_dim * bits_ * tables_ * 2,  // the projection, once per model
            .host_kv = sparse * context_tokens * kv_bytes_of_layer(llm, DType::bf16),
            .host_metadata = sparse * (norms + tables + buckets + hit_counts)};
  }

 private:
  bool released() const { return variant() == PolicyVariant::released; }
  /// Small operations on the queries that the released code leaves to the framework.
  void add_eager(const LayerContext& layer, int count, StepGraphBuilder& graph) const {
    if (!released()) return;
    const std::int64_t pass = layer.config.batch * layer.q_heads * layer.config.llm.head_dim * 2;
    for (int op = 0; op < count; ++op) {
      graph.add(CachePassShape{.other_read = pass, .other_write = pass}, "framework_op", layer.layer);
    }
  }

  std::int64_t bits_;
  std::int64_t tables_;
};

}  // namespace

std::shared_ptr<const Policy> make_magicpig_policy(const PolicyParams& params) {
  return std::make_shared<MagicPigPolicy>(params);
}

}  // namespace retrosim
