// Everything that decides what one decode step launches, apart from which pages the trace says were selected.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/dtype.h"
#include "model/implementation.h"
#include "model/llm_spec.h"
#include "model/policy.h"

namespace retrosim {

inline constexpr int kMaxWindow = 64;

struct DecodeConfig {
  LlmSpec llm;
  std::shared_ptr<const Policy> policy;
  int window = 1;  // queries, the current one included; 1 is no retrospection
  std::int64_t batch = 1;
  std::int64_t context = 0;  // tokens in the KV cache, the current one included
  int page_size = 16;        // tokens
  int dense_layers = 2;      // first layers that attend to everything (Quest)
  int tensor_parallel_size = 1;
  int sm_count = 132;  // of the target GPU: decides the split plan of attention
  // Attention merges its splits and rows in the same launch where it can (attention_can_merge); false: always two.
  bool merges_in_attention = false;
  // 16-bit products run by the own kernel of few rows (few_row_product.h) where a step has at most as many, and leave
  // partial results to their readers; false: a library's kernels, which write results.
  bool few_row_products = false;
  DType kv_dtype = DType::bf16;
  DType output_cache_dtype = DType::bf16;
  Implementation implementation = {};
  // Switches that price alternatives (method.md).
  bool carry_older_rows_through_dense_layers = false;
  bool widen_summaries = false;   // instead of recomputing the pages of overwritten keys
  bool mask_unseen_rows = false;  // compute older rows on every loaded page and mask, instead of skipping

  std::int64_t num_pages() const { return (context + page_size - 1) / page_size; }
  /// True when the policy chooses this layer's pages: not one of the first `dense_layers`, not a sliding-window layer.
  bool is_sparse(int layer) const;
  /// First sparse layer (l0), where older rows enter; num_layers when no layer is sparse.
  int first_sparse_layer() const;
  /// Query rows per sequence that run through `layer`: 1 below l0, `window` from there on (method.md, "One decoding
  /// step").
  int rows_per_sequence(int layer) const;
};

struct GpuProfile;

/// Sets what a GPU and the kernels that its profile was measured with decide of the launches: SMs, merging attention,
/// and products of few rows.
void launch_as_on(const GpuProfile& gpu, DecodeConfig& config);

/// Throws InputError naming the flag-like field: context beyond the model, batch < 1, window outside [1, kMaxWindow],
/// page size outside [1, 1024], heads that a tensor-parallel split cannot divide, dense_layers > layers.
void validate(const DecodeConfig& config);

/// What one sparse layer's selection came to at one step. Counts are summed over the batch and over all KV heads of the
/// model (before any tensor-parallel split).
struct LayerDemand {
  std::int64_t pages_loaded = 0;
  std::int64_t tokens_loaded = 0;   // valid tokens on them: the page being filled counts its own
  std::int64_t unseen_visits = 0;   // sum over s = 1..w-1 of |U_s|
  std::int64_t unseen_union = 0;    // |U_{1}|, the largest (U_{w-1} is within ... within U_1)
  std::int64_t recalled_pages = 0;  // of pages_loaded, those that were not in GPU memory and came over PCIe
  friend bool operator==(const LayerDemand&, const LayerDemand&) = default;
};

/// Demand of one step; entries of dense layers are ignored.
struct StepDemand {
  std::int64_t context = 0;  // tokens, the current one included; may differ from the config's
  // Position of the query in the text that the selection comes from; decides at which steps a policy that reuses its
  // selections makes a new one. -1: context - 1.
  std::int64_t position = -1;
  std::vector<LayerDemand> layers;  // [num_layers]
};

/// Demand with nothing unseen: every sparse layer loads pages_selected(...) pages per KV head. Exact for window 1.
StepDemand demand_without_unseen(const DecodeConfig& config);

}  // namespace retrosim
