#include "kernels/forward/dense_forward.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/forward/parallel.h"
#include "kernels/rms_norm/rms_norm.h"
#include "model/error.h"

namespace retrosim::kernels {
namespace {

constexpr std::int64_t kRowsPerBlock = 32;     // query positions of one attention task
constexpr std::int64_t kColumnsPerTask = 192;  // of a linear map
constexpr std::int64_t kRowsPerTask = 16;      // of row-wise work

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

DenseForward::DenseForward(const LlmWeights& weights, std::int64_t max_tokens, int num_threads)
    : weights_(weights),
      llm_(weights.llm),
      math_(forward_math()),
      max_tokens_(max_tokens),
      num_threads_(std::max(1, num_threads)),
      frequencies_(rope_frequencies(weights.llm)) {
  if (max_tokens < 1 || max_tokens > llm_.max_position) {
    throw InputError("", "tokens", std::to_string(max_tokens),
                     "1 to the model's " + std::to_string(llm_.max_position) + " positions");
  }
  const auto floats = static_cast<std::size_t>(llm_.num_kv_heads * max_tokens * llm_.head_dim);
  keys_.assign(static_cast<std::size_t>(llm_.num_layers), std::vector<float>(floats));
  values_ = keys_;
}

void DenseForward::run(std::span<const std::int32_t> tokens, ForwardObserver* observer) {
  const auto rows = static_cast<std::int64_t>(tokens.size());
  if (num_tokens_ + rows > max_tokens_) {
    throw InputError("", "tokens", std::to_string(num_tokens_ + rows), "at most " + std::to_string(max_tokens_));
  }
  const std::int64_t hidden = llm_.hidden_size;
  turns_.clear();
  hidden_.resize(static_cast<std::size_t>(rows * hidden));
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int32_t token = tokens[row];
    if (token < 0 || token >= llm_.vocab_size) {
      throw InputError("", "tokens[" + std::to_string(num_tokens_ + row) + "]", std::to_string(token),
                       "a token id below the vocabulary's " + std::to_string(llm_.vocab_size));
    }
    std::copy_n(&weights_.embedding[token * hidden], hidden, &hidden_[row * hidden]);
    turns_.emplace_back(num_tokens_ + row, frequencies_);
  }
  for (int layer = 0; layer < llm_.num_layers; ++layer) run_layer(layer, rows, observer);
  num_tokens_ += rows;
}

void DenseForward::run_layer(int layer, std::int64_t rows, ForwardObserver* observer) {
  const LayerWeights& weights = weights_.layers[static_cast<std::size_t>(layer)];
  const std::int64_t hidden = llm_.hidden_size;
  const std::int64_t intermediate = llm_.intermediate_size;
  normed_.resize(hidden_.size());
  host::rms_norm(hidden_, weights.input_norm, llm_.rms_norm_eps, normed_);
  linear(rows, hidden, weights.qkv, normed_, qkv_);
  const std::int64_t qkv_width = (llm_.num_q_heads + 2 * llm_.num_kv_heads) * llm_.head_dim;
  parallel_for(num_threads_, rows, [&](std::int64_t row) {
    float* qkv = &qkv_[row * qkv_width];
    for (std::size_t i = 0; i < weights.qkv_bias.size(); ++i) qkv[i] += weights.qkv_bias[i];
    append_heads(layer, row, qkv);
  });
  if (observer != nullptr && observer->watches(layer)) {
    observer->keys_ready(layer, num_tokens_, rows, keys_[static_cast<std::size_t>(layer)].data(),
                         max_tokens_ * llm_.head_dim);
  }
  attend(layer, rows, observer);
  linear(rows, llm_.num_q_heads * llm_.head_dim, weights.o, attention_, product_);
  for (std::size_t i = 0; i < hidden_.size(); ++i) hidden_[i] += product_[i];
  host::rms_norm(hidden_, weights.post_attention_norm, llm_.rms_norm_eps, normed_);
  linear(rows, hidden, weights.gate_up, normed_, gate_up_);
  std::vector<float>& activated = attention_;
  activated.resize(static_cast<std::size_t>(rows * intermediate));
  parallel_for(num_threads_, divide_up(rows, kRowsPerTask), [&](std::int64_t task) {
    for (std::int64_t row = task * kRowsPerTask; row < std::min(rows, (task + 1) * kRowsPerTask); ++row) {
      const float* gate = &gate_up_[row * 2 * intermediate];
      math_.silu_mul(gate, gate + intermediate, intermediate, &activated[row * intermediate]);
    }
  });
  linear(rows, intermediate, weights.down, activated, product_);
  for (std::size_t i = 0; i < hidden_.size(); ++i) hidden_[i] += product_[i];
}

// Normalises (Qwen3) and rotates the heads of one row in place, and stores its keys and values.
void DenseForward::append_heads(int layer, std::int64_t row, const float* qkv) {
  const LayerWeights& weights = weights_.layers[static_cast<std::size_t>(layer)];
  const std::int64_t d = llm_.head_dim;
  const std::int64_t position = num_tokens_ + row;
  const std::int64_t width = (llm_.num_q_heads + 2 * llm_.num_kv_heads) * d;
  for (std::int64_t head = 0; head < llm_.num_q_heads + llm_.num_kv_heads; ++head) {
    const std::span<float> values(&qkv_[row * width + head * d], static_cast<std::size_t>(d));
    const std::vector<float>& gain = head < llm_.num_q_heads ? weights.q_norm : weights.k_norm;
    if (!gain.empty()) host::rms_norm(values, gain, llm_.rms_norm_eps, values);
    turns_[static_cast<std::size_t>(row)].apply(values);
  }
  for (std::int64_t head = 0; head < llm_.num_kv_heads; ++head) {
    const std::int64_t at = (head * max_tokens_ + position) * d;
    std::copy_n(qkv + (llm_.num_q_heads + head) * d, d, &keys_[static_cast<std::size_t>(layer)][at]);
    std::copy_n(qkv + (llm_.num_q_heads + llm_.num_kv_heads + head) * d, d,
                &values_[static_cast<std::size_t>(layer)][at]);
  }
}

void DenseForward::attend(int layer, std::int64_t rows, ForwardObserver* observer) {
  attention_.resize(static_cast<std::size_t>(rows * llm_.num_q_heads * llm_.head_dim));
  ForwardObserver* watching = observer != nullptr && observer->watches(layer) ? observer : nullptr;
  const std::int64_t blocks = divide_up(rows, kRowsPerBlock);
  parallel_for(num_threads_, blocks * llm_.num_kv_heads, [&](std::int64_t task) {
    // Long blocks first: the last ones even out the threads' loads.
    const std::int64_t first = (blocks - 1 - task / llm_.num_kv_heads) * kRowsPerBlock;
    attend_block(layer, task % llm_.num_kv_heads, first, std::min(kRowsPerBlock, rows - first), watching);
  });
}

void DenseForward::attend_block(int layer, std::int64_t kv_head, std::int64_t first_row, std::int64_t rows,
                                ForwardObserver* observer) {
  const std::int64_t d = llm_.head_dim;
  const std::int64_t group = llm_.query_group();
  const std::int64_t width = (llm_.num_q_heads + 2 * llm_.num_kv_heads) * d;
  const std::int64_t first_position = num_tokens_ + first_row;
  const std::int64_t context = first_position + rows;
  const std::int64_t sliding_window =
      llm_.layer_sliding_window.empty() ? 0 : llm_.layer_sliding_window[static_cast<std::size_t>(layer)];
  const float* keys = &keys_[static_cast<std::size_t>(layer)][kv_head * max_tokens_ * d];
  const float* values = &values_[static_cast<std::size_t>(layer)][kv_head * max_tokens_ * d];
  thread_local std::vector<float> q, weights, out, sums;
  q.resize(static_cast<std::size_t>(group * rows * d));
  out.resize(q.size());
  weights.resize(static_cast<std::size_t>(group * rows * context));
  sums.resize(static_cast<std::size_t>(group * rows));
  for (std::int64_t g = 0; g < group; ++g) {
    for (std::int64_t row = 0; row < rows; ++row) {
      std::copy_n(&qkv_[(first_row + row) * width + (kv_head * group + g) * d], d, &q[(g * rows + row) * d]);
    }
  }
  math_.multiply_transposed(group * rows, context, d, q.data(), d, keys, d, weights.data(), context);
  const float scale = 1.0F / std::sqrt(static_cast<float>(d));
  for (std::int64_t i = 0; i < group * rows; ++i) {
    float* row = &weights[i * context];
    const std::int64_t end = first_position + i % rows + 1;
    const std::int64_t begin = sliding_window > 0 ? std::max<std::int64_t>(0, end - sliding_window) : 0;
    std::fill(row, row + begin, 0.0F);
    std::fill(row + end, row + context, 0.0F);
    sums[i] = math_.exponentials(row + begin, end - begin, scale);
  }
  math_.multiply(group * rows, d, context, weights.data(), context, values, d, out.data(), d);
  for (std::int64_t i = 0; i < group * rows; ++i) {
    float* to = &attention_[((first_row + i % rows) * llm_.num_q_heads + kv_head * group + i / rows) * d];
    for (std::int64_t j = 0; j < d; ++j) to[j] = out[i * d + j] / sums[i];
  }
  if (observer != nullptr) {
    observer->attention({.layer = layer,
                         .kv_head = static_cast<int>(kv_head),
                         .first_position = first_position,
                         .rows = rows,
                         .group = group,
                         .stride = context,
                         .q = q.data(),
                         .weights = weights.data(),
                         .sums = sums.data()});
  }
}

void DenseForward::linear(std::int64_t rows, std::int64_t k, std::span<const float> weight,
                          const std::vector<float>& in, std::vector<float>& out) const {
  const std::int64_t n = static_cast<std::int64_t>(weight.size()) / k;
  out.resize(static_cast<std::size_t>(rows * n));
  parallel_for(num_threads_, divide_up(n, kColumnsPerTask), [&](std::int64_t task) {
    const std::int64_t first = task * kColumnsPerTask;
    math_.multiply_transposed(rows, std::min(kColumnsPerTask, n - first), k, in.data(), k, &weight[first * k], k,
                              &out[first], n);
  });
}

std::vector<float> DenseForward::logits(std::int64_t first, std::int64_t count) const {
  const std::int64_t hidden = llm_.hidden_size;
  std::vector<float> normed(static_cast<std::size_t>(count * hidden));
  host::rms_norm(std::span(hidden_).subspan(first * hidden, normed.size()), weights_.final_norm, llm_.rms_norm_eps,
                 normed);
  std::vector<float> out;
  linear(count, hidden, weights_.head(), normed, out);
  return out;
}

}  // namespace retrosim::kernels
