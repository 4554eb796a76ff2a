// How much GPU memory a replica has for KV blocks, and how many of them a sequence needs.
#pragma once

#include <cstdint>
#include <vector>

#include "model/gpu_spec.h"
#include "sim/serving/serving_config.h"

namespace retrosim {

/// Memory of one GPU of a replica, bytes, shared out as vLLM v1 does before it captures CUDA graphs
/// (Worker.determine_available_memory): KV blocks get gpu_memory_utilization of what CUDA offers, less the weights,
/// less the peak of the activations in a profiling run of the largest step, less what is allocated outside of torch.
/// The graphs' memory is not in the sum (vLLM counts it by default from v0.21 on).
///
/// The two amounts that no formula gives are read off vLLM's start-up logs in its issue tracker, none of them of a run
/// that predictions are held against: CUDA offers 0.4 to 0.8 GiB less than the card's nominal capacity (RTX 3090 and
/// RTX 4090 23.55 to 23.58 of 24, L40S 44.42 of 45, RTX 5090 31.37 of 32, H100 79.2 of 80 GiB), and non-torch memory is
/// 0.20 to 0.33 GiB (issues 13061, 14452, 15815, PR 14447). Older versions logged more on H100 (1.3 to 1.8 GiB).
struct ReplicaMemory {
  std::int64_t usable = 0;  // gpu_memory_utilization of (capacity - driver_reserved_bytes)
  std::int64_t weights = 0;
  std::int64_t activations = 0;
  std::int64_t runtime = 0;
  std::int64_t block = 0;               // one KV block: one page of one sequence, all layers, metadata included
  std::int64_t fixed_per_sequence = 0;  // output cache
  std::int64_t num_blocks = 0;          // for all sequences; 0: the model does not fit

  std::int64_t kv() const { return num_blocks * block; }
};

/// Peak of the activations of a profiling run, per GPU: the larger of
///  - the widest point of the MLP over max_num_batched_tokens rows (gate, up and their product, input and residual,
///    bf16), and
///  - the sampler over max_num_seqs rows of logits, which every GPU holds whole. Top-p sampling sorts them in torch:
///  per
///    logit 2 bytes in bf16, 4 in float32, 4 + 8 sorted with indices, 12 in the radix sort's second buffers; beside
///    them the hidden states and the residual of the step's rows, bf16.
/// For Llama-3-8B at 256 sequences that is 0.95 GiB; vLLM v0.6 logged 1.26 (PR 10511).
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
  /// Blocks of a sequence that hold no page: its output cache.
  std::int64_t fixed_blocks() const { return fixed_blocks_; }
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
