// Split-KV paged decode attention on the GPU; the semantics are those of kernels/attention/attention.h.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/paged_kv_device.h"

namespace retrosim::kernels::cuda {

struct AttentionKernel;
struct AttentionKernelParams;
struct AttentionMergeArgs;

/// How tiles of keys and values get from global into shared memory.
enum class KvLoader : std::uint8_t {
  bulk_tensor,  // the copy engine (TMA), compute capability 9.0 and later
  async_copy,   // cp.async, 16 bytes per thread
};

/// Launch shape; the defaults are the fastest ones measured (reports/published/kernels-h100.md).
struct AttentionTuning {
  KvLoader loader = KvLoader::bulk_tensor;
  int warps = 0;          // leading ones per block; 0: 8, or 4 where there are more blocks than SMs
  int stages = 0;         // tiles in flight per leading warp; 0: 8 KB, or three tiles and more with older rows' warps
  int blocks_per_sm = 0;  // that shared memory is divided among; 0: one of 8 leading warps or two of 4
};

/// Partial results of one launch: what attention writes and the merge reads. Where both are one kernel they are the
/// exchange between its blocks: every byte 0xff before the first launch, and again after each.
struct AttentionPartials {
  // [batch, window, num_q_heads, num_splits, head_dim]; rows without a visible token are not written
  float* values = nullptr;
  // [batch, window, num_q_heads, num_splits] natural logarithm; -infinity where there was no visible token
  float* lse = nullptr;
};

struct PagedAttentionArgs {
  DevicePageTable table;
  std::int64_t num_q_heads = 0;
  std::int64_t window = 1;      // query rows per sequence in q
  std::int64_t num_splits = 1;  // per sequence and list
  // [batch, window, num_q_heads, head_dim] bf16 (f32 for an f32 cache); row s is query t - s
  const void* q = nullptr;
  // [batch] rows that exist, in [1, window]
  const std::int32_t* num_rows = nullptr;
  AttentionPartials partials;

  // Sparse attention; `selected` null: dense, every row attends to every token up to its own position.
  std::int64_t num_lists = 0;  // page lists per sequence: num_kv_heads or num_q_heads
  std::int64_t k_max = 0;      // columns of `selected`
  // [batch, num_lists, k_max] logical page ids, ascending
  const std::int32_t* selected = nullptr;
  // [batch, num_lists]
  const std::int32_t* counts = nullptr;
  // [batch] what counts will most likely be, known before the previous kernel has ended; null: k_max
  const std::int32_t* expected_counts = nullptr;
  // [batch, num_lists, max_pages] step of the last load, -1: never; null: not tracked (window 1 only). Only read here:
  // the merge stamps it, when no block reads it any more.
  const std::int32_t* last_loaded = nullptr;
  bool masked = false;  // compute older rows on every loaded page and mask, instead of skipping

  std::int64_t sliding_window = 0;  // dense only, tokens; 0: none
  bool early_queries = false;       // q was written before the previous kernel on the stream began
};

/// One layer's decode attention: holds the copy engine's description of its KV cache.
class PagedAttention {
 public:
  /// Throws InputError for a dtype, head size (64, 128, 256) or page size (power of two, 8..128) that there is no
  /// kernel for.
  explicit PagedAttention(const DeviceKvCache& cache, AttentionTuning tuning = {});

  /// Enqueues one kernel. Throws InputError if window * (num_q_heads / num_lists) > 256.
  void launch(const PagedAttentionArgs& args, cudaStream_t stream) const;

  /// Attention and its merge: one kernel where merges_in_one_kernel(), two otherwise. args.partials are merge.partials,
  /// and the second kernel's; `exchange`, of the same sizes, is used by the first alone. The one kernel's blocks wait
  /// for one another, all resident: launches on different streams of one GPU must not overlap.
  void launch_with_merge(const PagedAttentionArgs& args, const AttentionMergeArgs& merge,
                         const AttentionPartials& exchange, cudaStream_t stream) const;
  /// attention_can_merge() on this GPU.
  bool merges_in_one_kernel(const PagedAttentionArgs& args) const;

  const DeviceKvCache& cache() const { return cache_; }

 private:
  /// False: a block of this tuning is too small to merge; nothing is launched.
  bool launch(AttentionKernelParams& params, int batch, cudaStream_t stream) const;
  /// Chooses row blocks, row tiles and warps; returns how many blocks shall share an SM.
  int share_out_warps(AttentionKernelParams& params, int row_tiles, int batch, const AttentionKernel& kernel) const;

  DeviceKvCache cache_;
  AttentionTuning tuning_;
  CUtensorMap tensor_map_{};
};

/// Reads the tiles that launch() would read, through 16-byte loads and without arithmetic: the bandwidth that attention
/// can reach at most. `sink` is one word that is written only if all the data XORs to a magic value.
void gather_kv(const DeviceKvCache& cache, const PagedAttentionArgs& args, std::uint32_t* sink, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
