#include "sim/serving/kv_blocks.h"

#include <algorithm>

#include "sim/simulate.h"

namespace retrosim {
namespace {

constexpr std::int64_t kSamplerBytesPerLogit = 2 + 4 + 4 + 8 + 12;

/// GPU bytes, of one GPU, that a sequence of `pages` pages takes, the output cache excepted.
std::int64_t sequence_bytes(const DecodeConfig& config, std::int64_t pages) {
  const int split = std::min(config.tensor_parallel_size, config.llm.num_kv_heads);
  const PolicyState state = config.policy->state(config.llm, pages * config.page_size, config.page_size,
                                                 config.kv_dtype, config.dense_layers);
  std::int64_t bytes = state.gpu_kv + state.gpu_metadata;
  if (config.window > 1) {
    bytes += 4 * pages * config.llm.num_kv_heads * (config.llm.num_layers - config.first_sparse_layer());
  }
  return (bytes + split - 1) / split;
}

}  // namespace

std::int64_t default_activation_bytes(const ServingConfig& config) {
  const LlmSpec& llm = config.decode.llm;
  const int gpus = config.decode.tensor_parallel_size;
  const std::int64_t width = llm.moe.num_experts > 0
                                 ? std::int64_t{3} * llm.moe.intermediate_size * llm.moe.experts_per_token / gpus
                                 : std::int64_t{3} * llm.intermediate_size / gpus;
  const std::int64_t rows = config.max_num_batched_tokens;
  const std::int64_t mlp = rows * (width + 2 * llm.hidden_size) * 2;
  const std::int64_t sampler =
      std::int64_t{config.max_num_seqs} * llm.vocab_size * kSamplerBytesPerLogit + rows * 2 * llm.hidden_size * 2;
  return std::max(mlp, sampler);
}

KvBlocks::KvBlocks(const ServingConfig& config, const GpuSpec& gpu) : page_size_(config.decode.page_size) {
  DecodeConfig decode = config.decode;
  decode.batch = 1;
  decode.context = 1;
  const int gpus = decode.tensor_parallel_size;
  const std::int64_t offered = std::max<std::int64_t>(0, gpu.hbm_capacity_bytes - config.driver_reserved_bytes);
  memory_.usable = static_cast<std::int64_t>(static_cast<double>(offered) * config.gpu_memory_utilization);
  memory_.weights = bytes_of(decode.llm.weight_dtype, decode.llm.num_params()) / gpus;
  memory_.activations = config.activation_bytes.value_or(default_activation_bytes(config));
  memory_.runtime = config.runtime_bytes;
  memory_.fixed_per_sequence = output_cache_state_bytes(decode);

  const std::int64_t max_pages = (config.context_limit() + page_size_ - 1) / page_size_;
  const std::int64_t one = sequence_bytes(decode, 1);
  // A policy that keeps everything takes the same for every page; one that evicts takes less for later pages.
  linear_ = sequence_bytes(decode, max_pages) >= max_pages * one - max_pages &&
            sequence_bytes(decode, max_pages) <= max_pages * one;
  memory_.block = one;
  fixed_blocks_ = (memory_.fixed_per_sequence + one - 1) / one;
  if (!linear_) {
    blocks_of_pages_.resize(static_cast<std::size_t>(max_pages) + 1);
    std::int64_t most = 0;
    for (std::int64_t pages = 1; pages <= max_pages; ++pages) {
      most = std::max(most, sequence_bytes(decode, pages));
      blocks_of_pages_[static_cast<std::size_t>(pages)] = (most + memory_.fixed_per_sequence + one - 1) / one;
    }
  }
  const std::int64_t left = memory_.usable - memory_.weights - memory_.activations - memory_.runtime;
  memory_.num_blocks = config.num_blocks_override.value_or(std::max<std::int64_t>(0, left / memory_.block));
}

}  // namespace retrosim
