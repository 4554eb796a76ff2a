#include "model/layer_ops.h"

#include <algorithm>

#include "model/few_row_product.h"

namespace retrosim {
namespace {

constexpr DType kActivation = DType::bf16;

void add_all_reduce(const LocalShape& local, const char* name, int layer, std::int64_t rows, StepGraphBuilder& graph) {
  if (local.num_gpus == 1) return;
  graph.add(AllReduceShape{.message_bytes = bytes_of(kActivation, rows * local.hidden), .num_gpus = local.num_gpus},
            name, layer);
}

/// Whether a layer's products of `m` rows run by the kernel of few rows: weights are laid out once, for the most rows
/// of a step.
bool has_few_rows(const DecodeConfig& config, std::int64_t m) {
  return config.few_row_products && config.llm.weight_dtype == DType::bf16 &&
         std::max(m, config.batch * config.window) <= kFewRowProductRows;
}

/// A product with the layer's weights.
MatmulShape product(const DecodeConfig& config, std::int64_t m, std::int64_t n, std::int64_t k,
                    std::int64_t num_groups = 1) {
  const bool narrow = bits_of(config.llm.weight_dtype) <= 4;
  const bool few_rows = num_groups == 1 && has_few_rows(config, m);
  return {.m = m,
          .n = n,
          .k = k,
          .weight_dtype = config.llm.weight_dtype,
          .num_groups = num_groups,
          .bandwidth_share = narrow ? config.implementation.int4_bandwidth_share : 1.0,
          .splits = few_rows ? few_row_cut(n, k).splits : 0};
}

/// Embedding and LM head.
DType head_dtype(const DecodeConfig& config) {
  const bool quantised = bits_of(config.llm.weight_dtype) < 16;
  return quantised && config.implementation.keeps_head_in_16_bits ? DType::f16 : config.llm.weight_dtype;
}

/// The small kernels that the implementation leaves unfused: each passes once over the rows' hidden states.
void add_unfused_ops(const DecodeConfig& config, const LocalShape& local, int layer, std::int64_t rows,
                     StepGraphBuilder& graph) {
  const std::int64_t pass = bytes_of(kActivation, rows * local.hidden);
  for (int op = 0; op < config.implementation.unfused_ops; ++op) {
    graph.add(CachePassShape{.other_read = pass, .other_write = pass}, "unfused", layer);
  }
}

void add_dense_mlp(const DecodeConfig& config, const LocalShape& local, int layer, std::int64_t rows,
                   StepGraphBuilder& graph) {
  const std::int64_t intermediate = config.llm.intermediate_size / local.num_gpus;
  graph.add(product(config, rows, 2 * intermediate, local.hidden), "gate_up_proj", layer);
  graph.add(SiluMulShape{.rows = rows,
                         .intermediate_size = intermediate,
                         .product_splits = splits_of_layer_product(config, rows, local.hidden)},
            "silu_mul", layer);
  graph.add(product(config, rows, local.hidden, intermediate), "down_proj", layer);
}

/// Each row runs through experts_per_token experts; a grouped product reads every expert that any row picked once. The
/// weighted sum over a row's experts is part of the down projection's epilogue.
void add_expert_mlp(const DecodeConfig& config, const LocalShape& local, int layer, std::int64_t rows,
                    StepGraphBuilder& graph) {
  const MoeSpec& moe = config.llm.moe;
  const std::int64_t intermediate = moe.intermediate_size / local.num_gpus;
  const std::int64_t visits = rows * moe.experts_per_token;
  const std::int64_t experts = expected_distinct_experts(moe, rows);
  graph.add(product(config, rows, moe.num_experts, local.hidden), "router", layer);
  graph.add(MoeRouteShape{.rows = rows, .num_experts = moe.num_experts, .experts_per_token = moe.experts_per_token},
            "moe_route", layer);
  graph.add(product(config, visits, 2 * intermediate, local.hidden, experts), "experts_gate_up_proj", layer);
  graph.add(SiluMulShape{.rows = visits, .intermediate_size = intermediate}, "silu_mul", layer);
  graph.add(product(config, visits, local.hidden, intermediate, experts), "experts_down_proj", layer);
}

bool is_moe_layer(const DecodeConfig& config, int layer) {
  const auto index = static_cast<std::size_t>(layer);
  return index < config.llm.layer_is_moe.size() && config.llm.layer_is_moe[index] != 0;
}

/// Partial results in which the norm after `layer` finds the MLP's output. An all-reduce leaves one.
std::int64_t splits_of_mlp(const DecodeConfig& config, const LocalShape& local, int layer, std::int64_t rows) {
  if (local.num_gpus > 1 || is_moe_layer(config, layer)) return 1;
  return splits_of_layer_product(config, rows, config.llm.intermediate_size);
}

}  // namespace

std::int64_t splits_of_layer_product(const DecodeConfig& config, std::int64_t rows, std::int64_t k) {
  return has_few_rows(config, rows) ? few_row_cut(1, k).splits : 1;
}

TouchedPages touched_pages(std::int64_t context, int page_size, std::int64_t older) {
  const std::int64_t newest = context - 1;
  older = std::min(older, newest);
  if (older <= 0) return {};
  const std::int64_t first = (newest - older) / page_size;
  const std::int64_t last = (newest - 1) / page_size;
  return {.pages = last - first + 1,
          .keys = newest - older - first * page_size,
          .holds_current = last == newest / page_size};
}

void add_attention_input(const DecodeConfig& config, const LocalShape& local, int layer, const RmsNormShape& norm,
                         StepGraphBuilder& graph) {
  RmsNormShape read = norm;
  if (norm.adds_residual) read.product_splits = splits_of_mlp(config, local, layer - 1, norm.rows);
  graph.add(read, "input_norm", layer);
  add_unfused_ops(config, local, layer, norm.rows, graph);
  MatmulShape qkv = product(config, norm.rows, (local.q_heads + 2 * local.kv_heads) * local.head_dim, local.hidden);
  qkv.bias = config.llm.qkv_bias;
  graph.add(qkv, "qkv_proj", layer);
}

void add_attention_output_and_mlp(const DecodeConfig& config, const LocalShape& local, int layer, std::int64_t rows,
                                  StepGraphBuilder& graph) {
  graph.add(product(config, rows, local.hidden, local.q_heads * local.head_dim), "o_proj", layer);
  add_all_reduce(local, "attention_all_reduce", layer, rows, graph);
  const std::int64_t attended = local.q_heads * local.head_dim;
  graph.add(RmsNormShape{.rows = rows,
                         .hidden_size = local.hidden,
                         .adds_residual = true,
                         .product_splits = local.num_gpus > 1 ? 1 : splits_of_layer_product(config, rows, attended)},
            "post_attention_norm", layer);
  if (is_moe_layer(config, layer)) {
    add_expert_mlp(config, local, layer, rows, graph);
  } else {
    add_dense_mlp(config, local, layer, rows, graph);
  }
  add_all_reduce(local, "mlp_all_reduce", layer, rows, graph);
}

void add_head(const DecodeConfig& config, const LocalShape& local, StepGraphBuilder& graph) {
  const LlmSpec& llm = config.llm;
  const std::int64_t vocab = (llm.vocab_size + config.tensor_parallel_size - 1) / config.tensor_parallel_size;
  // The head runs on the newest row of each sequence alone, so its weights may be laid out for fewer rows.
  MatmulShape head{.m = config.batch, .n = vocab, .k = llm.hidden_size, .weight_dtype = head_dtype(config)};
  if (config.few_row_products && head.weight_dtype == DType::bf16 && head.m <= kFewRowProductRows) {
    head.splits = few_row_cut(head.n, head.k).splits;
  }
  graph.add(RmsNormShape{.rows = config.batch,
                         .hidden_size = llm.hidden_size,
                         .adds_residual = true,
                         .product_splits = splits_of_mlp(config, local, llm.num_layers - 1, config.batch)},
            "final_norm", -1);
  graph.add(head, "lm_head", -1);
  graph.add(
      SampleShape{.rows = config.batch, .vocab_size = vocab, .product_splits = std::max<std::int64_t>(1, head.splits)},
      "sample", -1);
}

}  // namespace retrosim
