// Policies that drop tokens for good, at page granularity; inside model/policies/.
#pragma once

#include <vector>

#include "model/policies/layer_counts.h"
#include "model/policy.h"

namespace retrosim {

/// Keeps pages by an importance that accumulates while a page is held. What is held after a step is a subset of what
/// was held before and the pages that came since, so nothing that was skipped returns, and no page is ever unseen.
///
/// The set attended at step t is decided by the importance of the steps before t, as eviction follows attention. At the
/// first step nothing came before: its own masses stand for those of the prompt's queries.
class EvictingPolicy : public Policy {
 public:
  std::int64_t pages_selected(std::int64_t num_pages, int page_size) const override {
    return pages_in_budget(params(), num_pages, page_size);
  }
  bool can_return_to_skipped_pages() const final { return false; }
  bool selects_by_score() const final { return true; }
  bool keeps_page_summaries() const final { return false; }
  void add_selection_ops(const LayerContext& /*layer*/, StepGraphBuilder& /*graph*/) const override {}
  void select(const RankedPages& ranked, int page_size, std::vector<PageId>& out) const final;
  void select_next(const RankedPages& ranked, int page_size, SelectionMemory& memory,
                   std::vector<PageId>& out) const final;
  /// The budget's pages in the sparse layers, everything in the dense ones.
  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override;

 protected:
  explicit EvictingPolicy(const PolicyParams& params) : Policy(params) {}

  /// Tokens of the pages within the budget of a context.
  std::int64_t kept_tokens(std::int64_t context_tokens, int page_size) const;

  /// Most recent pages that are kept whatever their importance, of `count` pages in all; at least 1, the open page.
  virtual std::int64_t recent_pages(std::int64_t count, int page_size) const = 0;

  /// Adds what one step's masses say to memory.score. `mass` [pages] is 0 on pages that are not held and sums to 1. By
  /// default all steps count alike.
  virtual void accumulate(const std::vector<float>& mass, SelectionMemory& memory) const;

  /// True when pages are still dropped after the first step.
  virtual bool evicts_while_decoding() const { return true; }
};

/// Keeps the most recent pages and the heaviest of the others by accumulated attention mass: one float32 score per
/// query head and kept token.
class HeavyHitterPolicy : public EvictingPolicy {
 public:
  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const final;

 protected:
  /// `recent_share`: the option's default.
  HeavyHitterPolicy(const PolicyParams& params, double recent_share);
  std::int64_t recent_pages(std::int64_t count, int page_size) const final;
  /// Bytes of the scores of one layer on this GPU.
  static std::int64_t score_bytes(const LayerCounts& counts);

 private:
  double recent_share_;
};

/// Reads and writes all kept keys, then all kept values: a cache that is gathered into a new one.
void add_cache_rewrite(StepGraphBuilder& graph, const LayerCounts& counts, const char* keys, const char* values,
                       int layer);

}  // namespace retrosim
