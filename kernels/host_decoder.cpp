#include "kernels/host_decoder.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

#include "kernels/matmul/matmul.h"
#include "kernels/rope_append/rope.h"
#include "model/error.h"

namespace retrosim::kernels {

HostDecoder::HostDecoder(const LlmWeights& weights, DecodeConfig config, const HostDecoderOptions& options)
    : HostDecoder(weights, std::move(config), options, nullptr, {}, 0) {}

HostDecoder::HostDecoder(const LlmWeights& weights, DecodeConfig config, const HostDecoderOptions& options,
                         std::shared_ptr<HostKvCache> cache, std::vector<std::int32_t> page_table,
                         std::int64_t num_tokens)
    : weights_(weights),
      config_(std::move(config)),
      options_(options),
      max_pages_((options.max_tokens + config_.page_size - 1) / std::max(1, config_.page_size)),
      cache_(std::move(cache)),
      frequencies_(rope_frequencies(weights.llm)),
      page_table_(std::move(page_table)),
      num_tokens_(num_tokens) {
  config_.llm = weights.llm;
  config_.context = options.max_tokens;
  validate(config_);
  if (config_.tensor_parallel_size != 1) {
    throw InputError("", "tensor_parallel_size", std::to_string(config_.tensor_parallel_size), "1 on the host");
  }
  const LlmSpec& llm = config_.llm;
  const std::int64_t batch = config_.batch;
  if (!cache_) {
    const int first_summarised = config_.policy->keeps_page_summaries() ? config_.first_sparse_layer() : llm.num_layers;
    cache_ = std::make_shared<HostKvCache>(llm, config_.page_size, batch * max_pages_, first_summarised);
    // Sequences take physical pages in turn, so that no sequence's pages are contiguous.
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t page = 0; page < max_pages_; ++page) {
        page_table_.push_back(static_cast<std::int32_t>(page * batch + b));
      }
    }
  } else if (batch != 1 || std::ssize(page_table_) != max_pages_ || cache_->shape.page_size != config_.page_size) {
    throw std::invalid_argument("a shared cache needs one sequence, its page size and a page for every token");
  }
  context_lens_.assign(static_cast<std::size_t>(batch), static_cast<std::int32_t>(num_tokens_));
  sampled_.assign(static_cast<std::size_t>(batch), 0);
  const std::int64_t slots = config_.window - 1;
  for (int layer = 0; layer < llm.num_layers; ++layer) {
    HostLayerState& state = layers_.emplace_back();
    if (!config_.is_sparse(layer)) continue;
    const auto lists_of_all = static_cast<std::size_t>(batch * lists());
    const std::size_t pages_of_all = lists_of_all * static_cast<std::size_t>(max_pages_);
    if (tracks_pages()) state.last_loaded.assign(pages_of_all, -1);
    state.output_cache_values.resize(static_cast<std::size_t>(slots * batch * llm.num_q_heads * llm.head_dim));
    state.output_cache_lse.resize(static_cast<std::size_t>(slots * batch * llm.num_q_heads));
    state.selected.resize(pages_of_all);
    state.selected_counts.resize(lists_of_all);
    state.memory.resize(lists_of_all);
    if (options_.served_steps > 1) state.last_chosen.assign(pages_of_all, -1);
  }
  hidden_ring_.resize(static_cast<std::size_t>(slots * batch * llm.hidden_size));
  token_ring_.resize(static_cast<std::size_t>(config_.window * batch));
}

std::int64_t HostDecoder::lists() const {
  return selection_heads(options_.reduction, config_.llm.num_q_heads, config_.llm.num_kv_heads);
}

PageTable HostDecoder::table() const {
  return {.batch = config_.batch, .max_pages = max_pages_, .physical = page_table_, .context_lens = context_lens_};
}

const std::vector<float>& HostDecoder::prefill(std::span<const std::int32_t> tokens) {
  const auto new_tokens = static_cast<std::int64_t>(tokens.size()) / config_.batch;
  is_prefill_ = true;
  rows_per_sequence_ = new_tokens;
  config_.context = num_tokens_ + new_tokens;
  graph_ = build_prefill(config_, new_tokens, num_tokens_);
  num_rows_.assign(context_lens_.size(), static_cast<std::int32_t>(new_tokens));
  num_tokens_ += new_tokens;
  begin(tokens);
  return finish();
}

const std::vector<float>& HostDecoder::step(std::span<const std::int32_t> tokens) {
  begin_step(tokens);
  return finish();
}

void HostDecoder::begin_step(std::span<const std::int32_t> tokens) {
  is_prefill_ = false;
  config_.context = num_tokens_ + 1;
  demand_ = {.context = config_.context,
             .layers = std::vector<LayerDemand>(static_cast<std::size_t>(config_.llm.num_layers))};
  graph_ = build_decode_step(config_, demand_without_unseen(config_));
  // Prompt tokens are not revised: the first steps have fewer older rows.
  num_rows_.assign(context_lens_.size(),
                   static_cast<std::int32_t>(std::min<std::int64_t>(config_.window, num_steps_ + 1)));
  for (std::int64_t b = 0; b < config_.batch; ++b) {
    token_ring_[num_tokens_ % config_.window * config_.batch + b] = tokens[b];
  }
  ++num_tokens_;
  ++num_steps_;
  begin(tokens);
}

void HostDecoder::begin(std::span<const std::int32_t> tokens) {
  if (num_tokens_ > options_.max_tokens) {
    throw InputError("", "tokens", std::to_string(num_tokens_), "at most " + std::to_string(options_.max_tokens));
  }
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= config_.llm.vocab_size) {
      throw InputError("", "token", std::to_string(token), "an id below " + std::to_string(config_.llm.vocab_size));
    }
  }
  tokens_.assign(tokens.begin(), tokens.end());
  std::fill(context_lens_.begin(), context_lens_.end(), static_cast<std::int32_t>(num_tokens_));
  next_vertex_ = 0;
}

std::optional<PendingProduct> HostDecoder::next_product() {
  while (next_vertex_ < graph_.size()) {
    const Op& op = graph_.op(next_vertex_++);
    if (std::holds_alternative<MatmulShape>(op.shape)) return product_of(op);
    execute(op);
  }
  return std::nullopt;
}

const std::vector<float>& HostDecoder::finish() {
  while (const std::optional<PendingProduct> product = next_product()) {
    std::vector<float> out(static_cast<std::size_t>(product->m * product->n));
    host::matmul(product->m, product->n, product->k, product->input, product->weight, product->bias, out);
    supply(std::move(out));
  }
  return block_;
}

// Rows of the block in order: a decode block's row s is the token at t - s, a prefill block's rows ascend.
std::vector<host::TokenRow> HostDecoder::token_rows(bool overwrites) const {
  std::vector<host::TokenRow> rows;
  for (std::int64_t b = 0; b < config_.batch; ++b) {
    for (std::int64_t s = 0; s < rows_per_sequence_; ++s) {
      const std::int64_t position = is_prefill_ ? num_tokens_ - rows_per_sequence_ + s : num_tokens_ - 1 - s;
      const bool exists = s < num_rows_[b];
      rows.push_back({.sequence = static_cast<std::int32_t>(b),
                      .position = static_cast<std::int32_t>(exists ? position : 0),
                      .writes_kv = exists && (is_prefill_ || s == 0 || overwrites)});
    }
  }
  return rows;
}

// At the first sparse layer the rows of the last window - 1 queries join the block, from the ring of their hidden rows,
// and the current row enters it, in the place of the one that leaves (method.md, "One decoding step").
void HostDecoder::join_older_rows() {
  const std::int64_t hidden = config_.llm.hidden_size;
  const std::int64_t window = config_.window;
  std::vector<float> block(static_cast<std::size_t>(config_.batch * window * hidden));
  for (std::int64_t b = 0; b < config_.batch; ++b) {
    for (std::int64_t s = 1; s < num_rows_[b]; ++s) {
      const std::int64_t slot = (num_tokens_ - 1 - s) % (window - 1);
      std::copy_n(&hidden_ring_[(slot * config_.batch + b) * hidden], hidden, &block[(b * window + s) * hidden]);
    }
    const std::int64_t slot = (num_tokens_ - 1) % (window - 1);
    std::copy_n(&residual_[b * hidden], hidden, &block[b * window * hidden]);
    std::copy_n(&residual_[b * hidden], hidden, &hidden_ring_[(slot * config_.batch + b) * hidden]);
  }
  residual_ = std::move(block);
  rows_per_sequence_ = window;
}

// The head runs on one row per sequence: the current query, or the prompt's last token.
void HostDecoder::keep_head_rows() {
  const std::int64_t hidden = config_.llm.hidden_size;
  const std::int64_t head_row = is_prefill_ ? rows_per_sequence_ - 1 : 0;
  for (std::int64_t b = 0; b < config_.batch; ++b) {
    std::copy_n(&residual_[(b * rows_per_sequence_ + head_row) * hidden], hidden, &residual_[b * hidden]);
  }
  residual_.resize(static_cast<std::size_t>(config_.batch * hidden));
  rows_per_sequence_ = 1;
}

// Counts what sparse_attention is about to do, by the rule of method.md, step 4.
void HostDecoder::count_demand(int layer, std::int64_t context) {
  const HostLayerState& state = layers_[static_cast<std::size_t>(layer)];
  LayerDemand& demand = demand_.layers[static_cast<std::size_t>(layer)];
  const std::int64_t t = context - 1;
  for (std::int64_t list = 0; list < config_.batch * lists(); ++list) {
    demand.pages_loaded += state.selected_counts[list];
    for (std::int64_t i = 0; i < state.selected_counts[list]; ++i) {
      const std::int64_t page = state.selected[list * max_pages_ + i];
      demand.tokens_loaded += std::min<std::int64_t>(config_.page_size, context - page * config_.page_size);
      for (std::int64_t s = 1; s < num_rows_[list / lists()]; ++s) {
        const bool unseen = state.last_loaded[list * max_pages_ + page] < t - s && page * config_.page_size <= t - s;
        demand.unseen_visits += unseen ? 1 : 0;
        demand.unseen_union += unseen && s == 1 ? 1 : 0;
      }
    }
  }
}

}  // namespace retrosim::kernels
