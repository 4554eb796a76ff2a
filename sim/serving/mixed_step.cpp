#include "sim/serving/mixed_step.h"

#include <algorithm>
#include <string_view>
#include <variant>
#include <vector>

#include "model/few_row_product.h"
#include "model/layer_ops.h"

namespace retrosim {
namespace {

struct JoinRows {
  const Op& op;
  const DecodeConfig& config;
  std::int64_t tokens;
  std::int64_t chunks;

  bool is_head() const { return op.layer < 0 && op.kind() != OpKind::embedding; }
  std::int64_t rows() const { return is_head() ? chunks : tokens; }

  void operator()(EmbeddingShape& shape) const { shape.rows += tokens; }
  void operator()(RmsNormShape& shape) const { join(shape, rows()); }
  void operator()(SiluMulShape& shape) const {
    const bool expert = config.llm.moe.num_experts > 0 &&
                        shape.intermediate_size * config.tensor_parallel_size == config.llm.moe.intermediate_size;
    join(shape, tokens * (expert && is_moe_layer() ? config.llm.moe.experts_per_token : 1));
  }
  void operator()(MoeRouteShape& shape) const { shape.rows += tokens; }
  void operator()(SampleShape& shape) const { join(shape, chunks); }
  void operator()(RopeAppendShape& shape) const {
    join(shape, tokens);
    shape.rows_appended += tokens;
    if (config.is_sparse(op.layer) && config.policy->keeps_page_summaries()) {
      shape.pages_recomputed += tokens / config.page_size + chunks;
      shape.keys_recomputed += tokens;
    }
  }
  void operator()(AllReduceShape& shape) const {
    shape.message_bytes += bytes_of(DType::bf16, tokens * config.llm.hidden_size);
  }
  void operator()(MatmulShape& shape) const {
    const std::string_view name = op.name;
    if (name.starts_with("experts_")) {
      shape.m += tokens * config.llm.moe.experts_per_token;
      shape.num_groups = expected_distinct_experts(config.llm.moe, shape.m / config.llm.moe.experts_per_token);
    } else {
      shape.m += rows();
      if (shape.m > kFewRowProductRows) shape.splits = 0;
    }
  }
  template <typename Other>
  void operator()(Other& /*shape*/) const {}

  /// More rows, and maybe more than the kernel of few rows takes: then a product is not left in parts.
  template <typename Reader>
  static void join(Reader& shape, std::int64_t more) {
    shape.rows += more;
    if (shape.rows > kFewRowProductRows) shape.product_splits = 1;
  }

  bool is_moe_layer() const {
    const auto index = static_cast<std::size_t>(op.layer);
    return index < config.llm.layer_is_moe.size() && config.llm.layer_is_moe[index] != 0;
  }
};

}  // namespace

EqualChunks::EqualChunks(const StepShape& shape)
    : count(shape.prefill_chunks), new_tokens((shape.prefill_tokens + count - 1) / count) {
  const std::int64_t among_themselves = count * new_tokens * (new_tokens + 1) / 2;
  context_before = std::max<std::int64_t>(0, (shape.prefill_pairs - among_themselves) / (count * new_tokens));
}

Op with_prefill_rows(const Op& op, const DecodeConfig& config, std::int64_t tokens, std::int64_t chunks) {
  Op joined = op;
  std::visit(JoinRows{op, config, tokens, chunks}, joined.shape);
  return joined;
}

PrefillAttentionShape prefill_attention_of(const DecodeConfig& config, int layer, const StepShape& shape) {
  const EqualChunks chunks(shape);
  const auto index = static_cast<std::size_t>(layer);
  const LocalShape local(config);
  return {.batch = chunks.count,
          .new_tokens = chunks.new_tokens,
          .context_before = chunks.context_before,
          .sliding_window = index < config.llm.layer_sliding_window.size() ? config.llm.layer_sliding_window[index] : 0,
          .num_q_heads = local.q_heads,
          .num_kv_heads = local.kv_heads,
          .head_dim = local.head_dim,
          .kv_dtype = config.kv_dtype};
}

StepGraph join_prefill(const StepGraph& decode, const DecodeConfig& config, const StepShape& shape) {
  StepGraph graph;
  std::vector<StepGraph::Vertex> place(decode.size());

  for (StepGraph::Vertex v = 0; v < decode.size(); ++v) {
    const Op& op = decode.op(v);
    place[v] = graph.add(with_prefill_rows(op, config, shape.prefill_tokens, shape.prefill_chunks));
    const auto [first, last] = boost::in_edges(v, decode.boost());
    for (auto edge = first; edge != last; ++edge) {
      graph.depend(place[boost::source(*edge, decode.boost())], place[v]);
    }
    const auto* attention = std::get_if<AttentionShape>(&op.shape);
    const bool merges = attention != nullptr ? attention->merges : op.kind() == OpKind::attention_merge;
    if (!merges) continue;
    const StepGraph::Vertex inserted = graph.add(
        {.shape = prefill_attention_of(config, op.layer, shape), .name = "prefill_attention", .layer = op.layer});
    graph.depend(place[v], inserted);
    place[v] = inserted;
  }
  return graph;
}

}  // namespace retrosim
