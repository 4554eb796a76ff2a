// One kernel launch per operation of the step graph.
#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "kernels/attention_merge/attention_merge_cuda.h"
#include "kernels/cuda_step/step_executor_impl.h"
#include "kernels/embedding/embedding_cuda.h"
#include "kernels/page_score/page_score_cuda.h"
#include "kernels/rms_norm/rms_norm_cuda.h"
#include "kernels/rope_append/rope_append_cuda.h"
#include "kernels/silu_mul/silu_mul_cuda.h"
#include "kernels/top_k/top_k_cuda.h"

namespace retrosim::kernels::cuda {

const DeviceLinear& StepExecutor::Impl::linear(const Op& op) const {
  const std::string_view name = op.name;
  if (name == "lm_head") return weights.lm_head;
  if (name == "qkv_proj") return layer_weights(op).qkv;
  if (name == "o_proj") return layer_weights(op).o;
  if (name == "gate_up_proj") return layer_weights(op).gate_up;
  if (name == "down_proj") return layer_weights(op).down;
  refuse_on_gpu("operation", name, "the products of a dense decoder");
}

void StepExecutor::Impl::enqueue(const Op& op, cudaStream_t stream) {
  std::visit([&](const auto& shape) { add(op, shape, stream); }, op.shape);
}

void StepExecutor::Impl::add(const Op&, const EmbeddingShape& shape, cudaStream_t stream) {
  residual = 0;
  product = {};
  window = static_cast<int>(shape.rows / config.batch);
  gather_embeddings({.rows = shape.rows,
                     .hidden_size = shape.hidden_size,
                     .dtype = activations,
                     .tokens = state.tokens.data(),
                     .token_stride = window == 1 ? config.window : 1,
                     .table = weights.embedding.data(),
                     .out = residuals[0].data()},
                    stream);
}

void StepExecutor::Impl::add(const Op& op, const RmsNormShape& shape, cudaStream_t stream) {
  const bool is_input = std::string_view(op.name) == "input_norm";
  const bool is_final = std::string_view(op.name) == "final_norm";
  const int window_out = static_cast<int>(shape.rows / config.batch);
  AddRmsNormArgs args{.batch = config.batch,
                      .window_in = window,
                      .window_out = window_out,
                      .hidden_size = shape.hidden_size,
                      .eps = static_cast<float>(config.llm.rms_norm_eps),
                      .dtype = activations,
                      .residual_in = residuals[static_cast<std::size_t>(residual)].data(),
                      .y = normed.data()};
  if (shape.adds_residual) args.x = product;
  args.gain = is_final   ? weights.final_gain.data()
              : is_input ? layer_weights(op).input_gain.data()
                         : layer_weights(op).mlp_gain.data();
  if (shape.rows_from_cache > 0) {
    args.hidden_cache = state.hidden_cache.data();
    args.context_lens = state.context_lens.data();
  }
  if (window_out != window) residual = 1 - residual;  // another block of rows: not in place
  args.residual_out = is_final ? nullptr : residuals[static_cast<std::size_t>(residual)].data();
  add_rms_norm(args, stream);
  window = window_out;
}

void StepExecutor::Impl::add(const Op& op, const MatmulShape& shape, cudaStream_t stream) {
  const std::string_view name = op.name;
  const DeviceLinear& product_weights = linear(op);
  const void* x = name == "o_proj" ? attended.data() : name == "down_proj" ? gated.data() : normed.data();
  Bytes& out = name == "qkv_proj"       ? qkv_out
               : name == "gate_up_proj" ? gate_up_out
               : name == "lm_head"      ? logits_out
                                        : hidden_out;
  DeviceLinear::Prefetch prefetch{.own_bytes = tuning.own_prefetch_bytes_per_block,
                                  .next_bytes = tuning.next_prefetch_bytes_per_block};
  if (name == "o_proj") prefetch.next = &layer_weights(op).gate_up;
  if (name == "gate_up_proj") prefetch.next = &layer_weights(op).down;
  if (name == "down_proj") {
    const auto layer = static_cast<std::size_t>(op.layer) + 1;
    prefetch.next = layer < weights.layers.size() ? &weights.layers[layer].qkv : &weights.lm_head;
  }
  const ProductView view = product_weights.run(x, shape.m, out.data(), &weights.lt, sm_count, prefetch, stream);
  if (shape.splits > 0 && shape.splits != view.splits) {
    throw std::logic_error("step graph: another number of partial results than the product leaves");
  }
  (name == "qkv_proj" ? qkv : name == "gate_up_proj" ? gate_up : name == "lm_head" ? logits : product) = view;
}

void StepExecutor::Impl::add(const Op& op, const RopeAppendShape& shape, cudaStream_t stream) {
  RopeAppendArgs args{.cache = state.kv_cache(op.layer),
                      .table = state.page_table(),
                      .num_q_heads = shape.num_q_heads,
                      .window = window,
                      .num_rows = state.num_rows.data(),
                      .qkv = qkv,
                      .inverse_frequencies = frequencies.data(),
                      .eps = static_cast<float>(config.llm.rms_norm_eps),
                      .overwrites = shape.rows_overwritten > 0,
                      .q = q.data()};
  if (shape.qk_norm) {
    args.q_gain = layer_weights(op).q_gain.data();
    args.k_gain = layer_weights(op).k_gain.data();
  }
  if (layer_state(op).summaries.size() > 0) {
    args.refresh = config.widen_summaries ? host::SummaryRefresh::widen : host::SummaryRefresh::recompute;
    args.summaries = layer_state(op).summaries.data();
  }
  args.prefetch = layer_weights(op).o.weights();
  args.prefetch_bytes = std::min(tuning.selection_prefetch_bytes, layer_weights(op).o.weight_bytes());
  rope_append(args, stream);
  queries_are_settled = false;
  has_selection = selects && config.is_sparse(op.layer);
}

void StepExecutor::Impl::add(const Op& op, const PageScoreShape& shape, cudaStream_t stream) {
  page_scores({.shape = state.kv_shape,
               .dtype = activations,
               .table = state.page_table(),
               .num_q_heads = shape.num_q_heads,
               .reduction = GroupReduction::max,
               .q = q.data(),
               .q_stride = window * shape.num_q_heads * shape.head_dim,
               .summaries = layer_state(op).summaries.data(),
               .scores = scores.data()},
              stream);
}

void StepExecutor::Impl::add(const Op& op, const TopKShape&, cudaStream_t stream) {
  const auto layer = static_cast<std::size_t>(op.layer);
  DeviceSchedule of_layer = schedule;
  if (schedule.num_steps > 0) {
    of_layer.pages = scheduled_pages[layer].data();
    of_layer.counts = scheduled_counts[layer].data();
  }
  const DeviceBuffer<float>& given = layer_state(op).given_scores;
  select_top_k({.table = state.page_table(),
                .page_size = config.page_size,
                .lists_per_sequence = config.llm.num_kv_heads,  // a list of the whole layer is made once per head
                .k_max = state.k_max,
                .scores = given.size() > 0 ? given.data() : scores.data(),
                .k = state.selected_pages.data(),
                .selected = selected[layer].data(),
                .counts = counts[layer].data(),
                .schedule = of_layer},
               stream);
  queries_are_settled = true;  // rope_append had ended before this kernel let its successor start
}

void StepExecutor::Impl::add(const Op& op, const AttentionShape& shape, cudaStream_t stream) {
  const auto layer = static_cast<std::size_t>(op.layer);
  PagedAttentionArgs args{.table = state.page_table(),
                          .num_q_heads = shape.num_q_heads,
                          .window = window,
                          .num_splits = shape.num_splits,
                          .q = q.data(),
                          .num_rows = state.num_rows.data(),
                          .partials = {.values = partial_values.data(), .lse = partial_lse.data()},
                          .early_queries = queries_are_settled};
  if (has_selection) {
    args.num_lists = config.llm.num_kv_heads;
    args.k_max = state.k_max;
    args.selected = selected[layer].data();
    args.counts = counts[layer].data();
    args.expected_counts = state.selected_pages.data();
    if (shape.tracks_last_loaded) args.last_loaded = layer_state(op).last_loaded.data();
    args.masked = shape.masked;
  } else if (!config.llm.layer_sliding_window.empty()) {
    args.sliding_window = config.llm.layer_sliding_window[layer];
  }
  if (window == 1) args.num_rows = state.one_row.data();
  if (shape.merges) {
    attention[layer].launch_with_merge(args, merge_args(op, shape.merge()),
                                       {.values = exchange_values.data(), .lse = exchange_lse.data()}, stream);
  } else {
    attention[layer].launch(args, stream);
  }
}

void StepExecutor::Impl::add(const Op& op, const AttentionMergeShape& shape, cudaStream_t stream) {
  merge_attention(merge_args(op, shape), stream);
}

AttentionMergeArgs StepExecutor::Impl::merge_args(const Op& op, const AttentionMergeShape& shape) {
  const auto layer = static_cast<std::size_t>(op.layer);
  AttentionMergeArgs args{.dtype = activations,
                          .table = state.page_table(),
                          .num_q_heads = shape.num_q_heads,
                          .head_dim = shape.head_dim,
                          .window = window,
                          .num_splits = shape.num_splits,
                          .partials = {.values = partial_values.data(), .lse = partial_lse.data()},
                          .num_rows = window == 1 ? state.one_row.data() : state.num_rows.data(),
                          .out = attended.data()};
  // Without a selection every row has attended to everything: there is nothing to merge with.
  if (window > 1 && has_selection) {
    args.slots = config.window - 1;
    args.cache_values = layer_state(op).cache_values.data();
    args.cache_lse = layer_state(op).cache_lse.data();
    if (stamps) args.last_loaded = layer_state(op).last_loaded.data();
    args.page_size = config.page_size;
    args.num_lists = config.llm.num_kv_heads;
    args.k_max = state.k_max;
    args.selected = selected[layer].data();
    args.counts = counts[layer].data();
  }
  return args;
}

void StepExecutor::Impl::add(const Op&, const SiluMulShape& shape, cudaStream_t stream) {
  silu_mul({.rows = shape.rows,
            .intermediate_size = shape.intermediate_size,
            .gate_up = gate_up,
            .dtype = activations,
            .y = gated.data()},
           stream);
}

void StepExecutor::Impl::add(const Op&, const SampleShape& shape, cudaStream_t stream) {
  sample_greedily({.batch = shape.rows,
                   .vocab_size = shape.vocab_size,
                   .logits = logits,
                   .tokens = state.tokens.data(),
                   .window = config.window,
                   .scratch = state.sample_scratch.data(),
                   .context_lens = state.context_lens.data(),
                   .num_rows = state.num_rows.data(),
                   .selected_pages = state.selected_pages.data(),
                   .pages_by_context = state.pages_by_context.data()},
                  stream);
}

}  // namespace retrosim::kernels::cuda
