// The operations of a step graph, each done by its host reference kernel.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/attention/attention.h"
#include "kernels/attention_merge/attention_merge.h"
#include "kernels/embedding/embedding.h"
#include "kernels/forward/forward_math.h"
#include "kernels/host_decoder.h"
#include "kernels/page_summary/page_summary.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/sample/sample.h"
#include "kernels/silu_mul/silu_mul.h"
#include "model/error.h"

namespace retrosim::kernels {
namespace {

// The graph says how many rows it launches; another number means that it was built for another state.
void expect(const Op& op, std::int64_t asked, std::int64_t there) {
  if (asked == there) return;
  throw std::logic_error(std::string(op.name) + " of layer " + std::to_string(op.layer) + ": the graph has " +
                         std::to_string(asked) + " rows, the decoder " + std::to_string(there));
}

std::size_t size_of(std::int64_t a, std::int64_t b) { return static_cast<std::size_t>(a * b); }

}  // namespace

void HostDecoder::execute(const Op& op) {
  std::visit([&](const auto& shape) { execute(op, shape); }, op.shape);
}

template <typename Shape>
void HostDecoder::execute(const Op& op, const Shape& /*shape*/) {
  throw InputError("", "operation", op.name, "one that the host decoder runs");
}

void HostDecoder::execute(const Op& op, const EmbeddingShape& shape) {
  std::vector<std::int32_t> tokens = tokens_;
  if (!is_prefill_) {
    rows_per_sequence_ = shape.rows / config_.batch;
    tokens.clear();
    for (std::int64_t b = 0; b < config_.batch; ++b) {
      for (std::int64_t s = 0; s < rows_per_sequence_; ++s) {
        const std::int64_t position = s < num_rows_[b] ? num_tokens_ - 1 - s : num_tokens_ - 1;
        tokens.push_back(token_ring_[position % config_.window * config_.batch + b]);
      }
    }
  }
  expect(op, shape.rows, static_cast<std::int64_t>(tokens.size()));
  residual_.resize(size_of(shape.rows, shape.hidden_size));
  host::embed(tokens, weights_.embedding, residual_);
}

void HostDecoder::execute(const Op& op, const RmsNormShape& shape) {
  const std::string_view name = op.name;
  if (shape.adds_residual) {
    for (std::size_t i = 0; i < residual_.size(); ++i) residual_[i] += block_[i];
  }
  if (name == "final_norm") keep_head_rows();
  if (shape.rows_from_cache > 0) join_older_rows();
  expect(op, shape.rows, config_.batch * rows_per_sequence_);
  has_selection_ = false;
  const std::vector<float>& gain = name == "final_norm"   ? weights_.final_norm
                                   : name == "input_norm" ? weights_of(op).input_norm
                                                          : weights_of(op).post_attention_norm;
  block_.resize(residual_.size());
  host::rms_norm(residual_, gain, config_.llm.rms_norm_eps, block_);
}

PendingProduct HostDecoder::product_of(const Op& op) const {
  const auto& shape = std::get<MatmulShape>(op.shape);
  const std::string_view name = op.name;
  expect(op, shape.m, config_.batch * rows_per_sequence_);
  PendingProduct product{
      .op = &op, .m = shape.m, .n = shape.n, .k = shape.k, .input = block_, .weight = {}, .bias = {}};
  if (name == "lm_head") {
    product.weight = weights_.head();
  } else if (name == "qkv_proj") {
    product.weight = weights_of(op).qkv;
    product.bias = weights_of(op).qkv_bias;
  } else if (name == "o_proj") {
    product.weight = weights_of(op).o;
  } else if (name == "gate_up_proj") {
    product.weight = weights_of(op).gate_up;
  } else if (name == "down_proj") {
    product.weight = weights_of(op).down;
  } else {
    throw InputError("", "operation", name, "a linear map of a dense decoder layer");
  }
  if (product.weight.size() != size_of(shape.n, shape.k)) {
    throw std::logic_error(std::string(name) + ": another weight shape");
  }
  return product;
}

void HostDecoder::execute(const Op& op, const RopeAppendShape& shape) {
  expect(op, shape.rows, config_.batch * rows_per_sequence_);
  HostKvCache::Layer& pages = pages_of(op.layer);
  const LayerWeights& weights = weights_of(op);
  const std::vector<host::TokenRow> rows = token_rows(shape.rows_overwritten > 0);
  q_.resize(size_of(shape.rows, shape.num_q_heads * shape.head_dim));
  host::rope_append(cache_->shape, table(), shape.num_q_heads, rows, frequencies_,
                    {.q_gain = weights.q_norm, .k_gain = weights.k_norm, .epsilon = config_.llm.rms_norm_eps}, block_,
                    q_, pages.kv);
  if (pages.summaries.empty() || !config_.is_sparse(op.layer)) return;
  std::vector<std::int32_t> touched(static_cast<std::size_t>(config_.batch), 0);
  for (const host::TokenRow& row : rows) touched[row.sequence] += row.writes_kv ? 1 : 0;
  if (config_.widen_summaries && !is_prefill_) {
    host::widen_page_summaries(cache_->shape, table(), touched, pages.kv, pages.summaries);
  } else {
    host::recompute_page_summaries(cache_->shape, table(), touched, pages.kv, pages.summaries);
  }
}

void HostDecoder::attend(const Op& op, const AttentionShape& shape) {
  expect(op, shape.rows, config_.batch * rows_per_sequence_);
  HostLayerState& state = state_of(op);
  const std::vector<float>& kv_cache = pages_of(op.layer).kv;
  const host::AttentionSizes sizes{.kv = cache_->shape,
                                   .num_q_heads = shape.num_q_heads,
                                   .window = rows_per_sequence_,
                                   .num_lists = lists(),
                                   .k_max = max_pages_};
  attention_.resize(q_.size());
  lse_.resize(size_of(shape.rows, shape.num_q_heads));
  if (!config_.is_sparse(op.layer)) {
    const auto& windows = config_.llm.layer_sliding_window;
    const std::int64_t sliding_window = windows.empty() ? 0 : windows[static_cast<std::size_t>(op.layer)];
    const auto attend = is_simd() ? simd::dense_attention : host::dense_attention;
    attend(sizes, table(), sliding_window, q_, kv_cache, num_rows_, attention_, lse_);
    return;
  }
  if (!has_selection_) select_without_scores(op.layer);
  if (options_.served_steps > 1) serve_earlier_choices(state);
  count_demand(op.layer, config_.context);
  if (is_simd()) {
    simd::sparse_attention(sizes, table(), q_, kv_cache, state.selected, state.selected_counts, num_rows_,
                           state.last_loaded, attention_, lse_);
  } else {
    host::sparse_attention(sizes, table(), shape.masked ? host::UnseenMode::mask : host::UnseenMode::skip, q_, kv_cache,
                           state.selected, state.selected_counts, num_rows_, state.last_loaded, attention_, lse_);
  }
}

void HostDecoder::execute(const Op& op, const AttentionShape& shape) {
  attend(op, shape);
  if (shape.merges) execute(op, shape.merge());
}

void HostDecoder::execute(const Op& op, const AttentionMergeShape& shape) {
  expect(op, shape.rows, config_.batch * rows_per_sequence_);
  // Dense layers compute older rows anew and in full: there is nothing to merge.
  if (tracks_pages() && config_.is_sparse(op.layer)) {
    HostLayerState& state = state_of(op);
    const std::vector<std::int32_t> positions(context_lens_.size(), static_cast<std::int32_t>(num_tokens_ - 1));
    host::merge_output_cache({.batch = config_.batch,
                              .window = rows_per_sequence_,
                              .slots = config_.window - 1,
                              .num_q_heads = shape.num_q_heads,
                              .head_dim = shape.head_dim},
                             positions, num_rows_, state.output_cache_values, state.output_cache_lse, attention_, lse_);
  }
  block_ = attention_;
}

void HostDecoder::execute(const Op& op, const PrefillAttentionShape& shape) {
  expect(op, shape.batch * shape.new_tokens, config_.batch * rows_per_sequence_);
  attention_.resize(q_.size());
  host::prefill_attention(cache_->shape, table(), shape.num_q_heads, shape.new_tokens, shape.sliding_window, q_,
                          pages_of(op.layer).kv, attention_);
  block_ = attention_;
}

void HostDecoder::execute(const Op& op, const SiluMulShape& shape) {
  expect(op, shape.rows, config_.batch * rows_per_sequence_);
  std::vector<float> out(size_of(shape.rows, shape.intermediate_size));
  if (is_simd()) {
    const ForwardMath& math = forward_math();
    for (std::int64_t row = 0; row < shape.rows; ++row) {
      const float* gate = &block_[row * 2 * shape.intermediate_size];
      math.silu_mul(gate, gate + shape.intermediate_size, shape.intermediate_size, &out[row * shape.intermediate_size]);
    }
  } else {
    host::silu_mul(shape.rows, shape.intermediate_size, block_, out);
  }
  block_ = std::move(out);
}

void HostDecoder::execute(const Op& op, const SampleShape& shape) {
  expect(op, shape.rows, config_.batch);
  host::sample_greedy(block_, sampled_);
}

}  // namespace retrosim::kernels
