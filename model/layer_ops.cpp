#include "model/layer_ops.h"

#include <algorithm>

namespace retrosim {
namespace {

constexpr DType kActivation = DType::bf16;

void add_all_reduce(const LocalShape& local, const char* name, int layer, std::int64_t rows, StepGraphBuilder& graph) {
  if (local.num_gpus == 1) return;
  graph.add(AllReduceShape{.message_bytes = bytes_of(kActivation, rows * local.hidden), .num_gpus = local.num_gpus},
            name, layer);
}

/// A product with the layer's weights.
MatmulShape product(const DecodeConfig& config, std::int64_t m, std::int64_t n, std::int64_t k,
                    std::int64_t num_groups = 1) {
  const bool narrow = bits_of(config.llm.weight_dtype) <= 4;
  return {.m = m,
          .n = n,
          .k = k,
          .weight_dtype = config.llm.weight_dtype,
          .num_groups = num_groups,
          .bandwidth_share = narrow ? config.implementation.int4_bandwidth_share : 1.0};
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
  graph.add(SiluMulShape{.rows = rows, .intermediate_size = intermediate}, "silu_mul", layer);
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

}  // namespace

TouchedPages touched_pages(std::int64_t context, int page_size, std::int64_t older) {
  const std::int64_t newest = context - 1;
  older = std::min(older, newest);
  if (older <= 0) return {};
  const std::int64_t first = (newest - older) / page_size;
  const std::int64_t last = (newest - 1) / page_size;
  return {.pages = last - first + 1,
          .keys = std::min(context, (last + 1) * page_size) - first * page_size,
          .holds_current = last == newest / page_size};
}

void add_attention_input(const DecodeConfig& config, const LocalShape& local, int layer, const RmsNormShape& norm,
                         StepGraphBuilder& graph) {
  graph.add(norm, "input_norm", layer);
  add_unfused_ops(config, local, layer, norm.rows, graph);
  MatmulShape qkv = product(config, norm.rows, (local.q_heads + 2 * local.kv_heads) * local.head_dim, local.hidden);
  qkv.bias = config.llm.qkv_bias;
  graph.add(qkv, "qkv_proj", layer);
}

void add_attention_output_and_mlp(const DecodeConfig& config, const LocalShape& local, int layer, std::int64_t rows,
                                  StepGraphBuilder& graph) {
  graph.add(product(config, rows, local.hidden, local.q_heads * local.head_dim), "o_proj", layer);
  add_all_reduce(local, "attention_all_reduce", layer, rows, graph);
  graph.add(RmsNormShape{.rows = rows, .hidden_size = local.hidden, .adds_residual = true}, "post_attention_norm",
            layer);
  const auto index = static_cast<std::size_t>(layer);
  const bool is_moe = index < config.llm.layer_is_moe.size() && config.llm.layer_is_moe[index] != 0;
  if (is_moe) {
    add_expert_mlp(config, local, layer, rows, graph);
  } else {
    add_dense_mlp(config, local, layer, rows, graph);
  }
  add_all_reduce(local, "mlp_all_reduce", layer, rows, graph);
}

void add_head(const DecodeConfig& config, StepGraphBuilder& graph) {
  const LlmSpec& llm = config.llm;
  const std::int64_t vocab = (llm.vocab_size + config.tensor_parallel_size - 1) / config.tensor_parallel_size;
  graph.add(RmsNormShape{.rows = config.batch, .hidden_size = llm.hidden_size, .adds_residual = true}, "final_norm",
            -1);
  graph.add(MatmulShape{.m = config.batch, .n = vocab, .k = llm.hidden_size, .weight_dtype = head_dtype(config)},
            "lm_head", -1);
  graph.add(SampleShape{.rows = config.batch, .vocab_size = vocab}, "sample", -1);
}

}  // namespace retrosim
