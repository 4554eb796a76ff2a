#include "model/decode_config.h"

#include <cmath>
#include <string>

#include "model/error.h"
#include "model/gpu_profile.h"

namespace retrosim {
namespace {

void require(bool holds, std::string_view field, std::int64_t value, const std::string& expectation) {
  if (!holds) throw InputError("", field, std::to_string(value), expectation);
}

}  // namespace

bool DecodeConfig::is_sparse(int layer) const {
  if (layer < dense_layers) return false;
  const auto index = static_cast<std::size_t>(layer);
  return index >= llm.layer_sliding_window.size() || llm.layer_sliding_window[index] == 0;
}

int DecodeConfig::first_sparse_layer() const {
  for (int layer = dense_layers; layer < llm.num_layers; ++layer) {
    if (is_sparse(layer)) return layer;
  }
  return llm.num_layers;
}

int DecodeConfig::rows_per_sequence(int layer) const {
  if (window == 1) return 1;
  const int first = first_sparse_layer();
  if (first == llm.num_layers) return 1;  // no layer revises anything
  return carry_older_rows_through_dense_layers || layer >= first ? window : 1;
}

void launch_as_on(const GpuProfile& gpu, DecodeConfig& config) {
  config.sm_count = gpu.spec.sm_count;
  config.merges_in_attention = gpu.merges_in_attention;
  config.few_row_products = gpu.few_row_products;
}

void validate(const DecodeConfig& config) {
  const LlmSpec& llm = config.llm;
  if (config.policy == nullptr) throw InputError("", "policy", "", "a policy");
  require(llm.num_layers > 0 && llm.num_q_heads > 0 && llm.num_kv_heads > 0, "llm.num_layers", llm.num_layers,
          "a model with layers and heads");
  require(config.batch >= 1 && config.batch <= 65536, "batch", config.batch, "1 to 65536 sequences");
  require(config.window >= 1 && config.window <= kMaxWindow, "window", config.window,
          "1 to " + std::to_string(kMaxWindow) + " queries (1 is no retrospection)");
  require(config.page_size >= 1 && config.page_size <= 1024, "page_size", config.page_size, "1 to 1024 tokens");
  require(config.context >= 1, "context", config.context, "at least 1 token");
  require(config.context <= llm.max_position, "context", config.context,
          "at most the model's " + std::to_string(llm.max_position) + " tokens (max_position_embeddings)");
  require(config.dense_layers >= 0 && config.dense_layers <= llm.num_layers, "dense_layers", config.dense_layers,
          "0 to the model's " + std::to_string(llm.num_layers) + " layers");
  const int tp = config.tensor_parallel_size;
  require(tp >= 1 && tp <= 64, "tensor_parallel_size", tp, "1 to 64 GPUs");
  require(llm.num_q_heads % tp == 0, "tensor_parallel_size", tp,
          "a divisor of the model's " + std::to_string(llm.num_q_heads) + " query heads");
  require(llm.num_kv_heads % tp == 0 || tp % llm.num_kv_heads == 0, "tensor_parallel_size", tp,
          "a divisor or a multiple of the model's " + std::to_string(llm.num_kv_heads) + " KV heads");
  const int intermediate = llm.moe.num_experts > 0 ? llm.moe.intermediate_size : llm.intermediate_size;
  require(intermediate % tp == 0, "tensor_parallel_size", tp,
          "a divisor of the model's intermediate size " + std::to_string(intermediate));
  require(config.sm_count >= 1, "sm_count", config.sm_count, "at least 1 multiprocessor");
  config.policy->validate(config);
}

StepDemand demand_without_unseen(const DecodeConfig& config) {
  const std::int64_t num_pages = config.num_pages();
  const std::int64_t selected = config.policy->pages_selected(num_pages, config.page_size);
  const std::int64_t rows = config.batch * config.llm.num_kv_heads;
  // The page being filled is always selected; it holds what is left over after the full pages.
  const std::int64_t on_last_page = config.context - (num_pages - 1) * config.page_size;
  const double recalls = config.policy->expected_recalls(num_pages, config.page_size);
  const LayerDemand layer{.pages_loaded = rows * selected,
                          .tokens_loaded = rows * ((selected - 1) * config.page_size + on_last_page),
                          .recalled_pages = std::llround(static_cast<double>(rows) * recalls)};
  return {.context = config.context,
          .layers = std::vector<LayerDemand>(static_cast<std::size_t>(config.llm.num_layers), layer)};
}

}  // namespace retrosim
