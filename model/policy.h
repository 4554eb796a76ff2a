// A KV policy: which pages a decode step attends to, what that costs beside attention, and what state it keeps.
// Each policy is one file in model/policies/ that registers itself in policies/registry.cpp's table.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/llm_spec.h"

namespace retrosim {

class StepGraphBuilder;
struct LayerContext;

using PageId = std::uint32_t;

/// One KV head's pages at one step, best score first, and how many pages the context has. The list may be cut off at
/// the trace's top M.
struct RankedPages {
  std::span<const PageId> pages;  // [<= num_pages], no duplicates
  std::int64_t num_pages = 0;     // pages of the context; page num_pages - 1 is the one being filled
};

/// Parameters that policies share. A budget is either a fraction of the context's pages or a number of tokens.
struct PolicyParams {
  double budget = 0.15;            // fraction of pages, (0, 1]; used when budget_tokens == 0
  std::int64_t budget_tokens = 0;  // tokens; 0 means `budget` decides
  std::int64_t sink_tokens = 4;    // streaming: tokens kept from the start (StreamingLLM)
};

/// Memory that a policy keeps for one sequence, all layers, before tensor-parallel splitting. Bytes.
struct PolicyState {
  std::int64_t gpu_kv = 0;
  std::int64_t gpu_metadata = 0;  // page summaries, last_loaded
  std::int64_t host_kv = 0;
};

class Policy {
 public:
  virtual ~Policy() = default;

  virtual std::string_view name() const = 0;

  /// Pages attended per KV head in a sparse layer with `num_pages` pages of context; in [1, num_pages].
  virtual std::int64_t pages_selected(std::int64_t num_pages, int page_size) const = 0;

  /// True when a page once skipped can be selected later. Only then does RetroAttention find unseen pages; otherwise a
  /// window is pure cost.
  virtual bool can_return_to_skipped_pages() const = 0;

  /// True when selection ranks pages by score, so that a trace must be at hand to know the sets.
  virtual bool selects_by_score() const = 0;

  /// The pages of one step, one KV head, into `out` (cleared first). Its size is
  /// pages_selected(ranked.num_pages, page_size). Throws InputError when the ranking is too short for the budget.
  virtual void select(const RankedPages& ranked, int page_size, std::vector<PageId>& out) const = 0;

  /// Adds the operations of a sparse layer that come between RoPE/append and attention, in order.
  virtual void add_selection_ops(const LayerContext& layer, StepGraphBuilder& graph) const = 0;

  /// True when RoPE/append keeps page summaries up to date in sparse layers.
  virtual bool keeps_page_summaries() const = 0;

  virtual PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                            int dense_layers) const = 0;

  const PolicyParams& params() const { return params_; }

 protected:
  explicit Policy(const PolicyParams& params) : params_(params) {}

 private:
  PolicyParams params_;
};

/// k from a budget: ceil(budget * num_pages) or ceil(budget_tokens / page_size), in [1, num_pages] (method.md).
std::int64_t pages_in_budget(const PolicyParams& params, std::int64_t num_pages, int page_size);

/// Makes the policy called `name`. Throws InputError listing the names, or for a budget outside (0, 1].
std::shared_ptr<const Policy> make_policy(std::string_view name, const PolicyParams& params);

/// Names on the command line, in the order of policies.md. "retro" is not among them: it is quest with window 2.
std::vector<std::string> policy_names();

}  // namespace retrosim
