// How much GPU memory a replica has for KV blocks, and how many of them a sequence needs.
#pragma once

#include <cstdint>
#include <vector>

#include "model/gpu_spec.h"
#include "sim/serving/serving_config.h"

namespace retrosim {

/// Memory of one GPU of a replica. Bytes.
struct ReplicaMemory {
  std::int64_t usable = 0;  // capacity times gpu_memory_utilization
  std::int64_t weights = 0;
  std::int64_t activations = 0;
  std::int64_t runtime = 0;
  std::int64_t block = 0;               // one KV block: one page of one sequence, all layers, metadata included
  std::int64_t fixed_per_sequence = 0;  // output cache
  std::int64_t num_blocks = 0;          // for all sequences; 0: the model does not fit

  std::int64_t kv() const { return num_blocks * block; }
};

/// Peak of the activations of a step of max_num_batched_tokens rows: the widest point of the MLP and the residual
/// stream, in bf16, and the logits of max_num_seqs rows in bf16 and float32. Per GPU.
std::int64_t default_activation_bytes(const ServingConfig& config);

/// Blocks of sequences as the policy keeps them: Policy::state (KV, page summaries), 4 bytes per page, KV head and
/// sparse layer for last_loaded where there is a window, and the output cache, which a sequence holds from the start.
class KvBlocks {
 public:
  KvBlocks(const ServingConfig& config, const GpuSpec& gpu);

  const ReplicaMemory& memory() const { return memory_; }
  std::int64_t total() const { return memory_.num_blocks; }
  /// Blocks that a sequence with `tokens` tokens in the cache holds; 0 for none.
  std::int64_t needed(std::int64_t tokens) const {
    if (tokens <= 0) return 0;
    const std::int64_t pages = (tokens + page_size_ - 1) / page_size_;
    return linear_ ? pages + fixed_blocks_ : blocks_of_pages_[static_cast<std::size_t>(pages)];
  }
  /// True when every further page takes one block.
  bool linear() const { return linear_; }

 private:
  ReplicaMemory memory_;
  std::int64_t page_size_;
  std::int64_t fixed_blocks_ = 0;
  bool linear_ = true;
  std::vector<std::int64_t> blocks_of_pages_;  // [pages of context_limit() + 1], where not linear
};

}  // namespace retrosim
