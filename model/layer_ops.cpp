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

void add_dense_mlp(const DecodeConfig& config, const LocalShape& local, int layer, std::int64_t rows,
                   StepGraphBuilder& graph) {
  const std::int64_t intermediate = config.llm.intermediate_size / local.num_gpus;
  const DType weight = config.llm.weight_dtype;
  graph.add(MatmulShape{.m = rows, .n = 2 * intermediate, .k = local.hidden, .weight_dtype = weight}, "gate_up_proj",
            layer);
  graph.add(SiluMulShape{.rows = rows, .intermediate_size = intermediate}, "silu_mul", layer);
  graph.add(MatmulShape{.m = rows, .n = local.hidden, .k = intermediate, .weight_dtype = weight}, "down_proj", layer);
}

/// Each row runs through experts_per_token experts; a grouped product reads every expert that any row picked once. The
/// weighted sum over a row's experts is part of the down projection's epilogue.
void add_expert_mlp(const DecodeConfig& config, const LocalShape& local, int layer, std::int64_t rows,
                    StepGraphBuilder& graph) {
  const MoeSpec& moe = config.llm.moe;
  const std::int64_t intermediate = moe.intermediate_size / local.num_gpus;
  const DType weight = config.llm.weight_dtype;
  const std::int64_t visits = rows * moe.experts_per_token;
  const std::int64_t experts = expected_distinct_experts(moe, rows);
  graph.add(MatmulShape{.m = rows, .n = moe.num_experts, .k = local.hidden, .weight_dtype = weight}, "router", layer);
  graph.add(MoeRouteShape{.rows = rows, .num_experts = moe.num_experts, .experts_per_token = moe.experts_per_token},
            "moe_route", layer);
  graph.add(
      MatmulShape{.m = visits, .n = 2 * intermediate, .k = local.hidden, .weight_dtype = weight, .num_groups = experts},
      "experts_gate_up_proj", layer);
  graph.add(SiluMulShape{.rows = visits, .intermediate_size = intermediate}, "silu_mul", layer);
  graph.add(
      MatmulShape{.m = visits, .n = local.hidden, .k = intermediate, .weight_dtype = weight, .num_groups = experts},
      "experts_down_proj", layer);
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
  graph.add(MatmulShape{.m = norm.rows,
                        .n = (local.q_heads + 2 * local.kv_heads) * local.head_dim,
                        .k = local.hidden,
                        .weight_dtype = config.llm.weight_dtype,
                        .bias = config.llm.qkv_bias},
            "qkv_proj", layer);
}

void add_attention_output_and_mlp(const DecodeConfig& config, const LocalShape& local, int layer, std::int64_t rows,
                                  StepGraphBuilder& graph) {
  graph.add(
      MatmulShape{
          .m = rows, .n = local.hidden, .k = local.q_heads * local.head_dim, .weight_dtype = config.llm.weight_dtype},
      "o_proj", layer);
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
  graph.add(MatmulShape{.m = config.batch, .n = vocab, .k = llm.hidden_size, .weight_dtype = llm.weight_dtype},
            "lm_head", -1);
  graph.add(SampleShape{.rows = config.batch, .vocab_size = vocab}, "sample", -1);
}

}  // namespace retrosim
