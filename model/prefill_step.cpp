// The operations of one prefill chunk.
#include "model/error.h"
#include "model/layer_ops.h"
#include "model/step_graph.h"

namespace retrosim {

StepGraph build_prefill(const DecodeConfig& config, std::int64_t new_tokens, std::int64_t context_before) {
  validate(config);
  if (new_tokens < 1) throw InputError("", "new_tokens", std::to_string(new_tokens), "at least 1 prompt token");
  if (context_before < 0 || context_before + new_tokens > config.llm.max_position) {
    throw InputError("", "context_before + new_tokens", std::to_string(context_before + new_tokens),
                     "at most the model's " + std::to_string(config.llm.max_position) + " tokens");
  }
  StepGraph graph;
  StepGraphBuilder builder(graph);
  const LocalShape local(config);
  const std::int64_t rows = config.batch * new_tokens;
  builder.add(EmbeddingShape{.rows = rows, .hidden_size = local.hidden, .dtype = config.llm.weight_dtype}, "embedding",
              -1);
  for (int layer = 0; layer < config.llm.num_layers; ++layer) {
    add_attention_input(config, local, layer, {.rows = rows, .hidden_size = local.hidden, .adds_residual = layer > 0},
                        builder);
    RopeAppendShape append{.rows = rows,
                           .rows_appended = rows,
                           .num_q_heads = local.q_heads,
                           .num_kv_heads = local.kv_heads,
                           .head_dim = local.head_dim,
                           .kv_dtype = config.kv_dtype,
                           .qk_norm = config.llm.qk_norm,
                           .product_splits = splits_of_layer_product(config, rows, local.hidden)};
    if (config.is_sparse(layer) && config.policy->keeps_page_summaries()) {
      const std::int64_t first = context_before / config.page_size;
      const std::int64_t last = (context_before + new_tokens - 1) / config.page_size;
      append.pages_recomputed = config.batch * (last - first + 1);
      append.keys_recomputed = config.batch * (context_before + new_tokens - first * config.page_size);
    }
    builder.add(append, "rope_append", layer);
    const auto index = static_cast<std::size_t>(layer);
    builder.add(PrefillAttentionShape{.batch = config.batch,
                                      .new_tokens = new_tokens,
                                      .context_before = context_before,
                                      .sliding_window = index < config.llm.layer_sliding_window.size()
                                                            ? config.llm.layer_sliding_window[index]
                                                            : 0,
                                      .num_q_heads = local.q_heads,
                                      .num_kv_heads = local.kv_heads,
                                      .head_dim = local.head_dim,
                                      .kv_dtype = config.kv_dtype},
                "prefill_attention", layer);
    add_attention_output_and_mlp(config, local, layer, rows, builder);
  }
  add_head(config, local, builder);
  return graph;
}

}  // namespace retrosim
