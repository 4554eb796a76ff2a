// A KV policy: which pages a decode step attends to, what that costs beside attention, and what state it keeps.
// Each policy is one file in model/policies/ and one line in policies/registry.cpp's table (policies/README.md).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/llm_spec.h"

namespace retrosim {

class StepGraphBuilder;
struct AttentionShape;
struct DecodeConfig;
struct LayerContext;

using PageId = std::uint32_t;

/// One KV head's pages at one step, best score first, and how many pages the context has. The list may be cut off at
/// the trace's top M.
struct RankedPages {
  std::span<const PageId> pages;  // [<= num_pages], no duplicates
  std::int64_t num_pages = 0;     // pages of the context; page num_pages - 1 is the one being filled
  // [pages.size()], true attention mass on each listed page (mean over the query group); empty: not known.
  std::span<const float> mass = {};
  std::int64_t position = -1;  // of the query; -1: not known
};

/// What one KV head's selection remembers from step to step; empty before the first. Policies use what they need.
struct SelectionMemory {
  std::int64_t steps = 0;      // steps selected so far
  std::int64_t num_pages = 0;  // of the context at the step before
  std::vector<PageId> kept;    // evicting policies: pages not yet dropped; reuse: the list of the last refresh
  std::vector<double> score;   // [pages] accumulated importance
  std::vector<std::vector<float>> recent_mass;  // [<= R][pages], newest last (MorphKV)
  std::vector<std::uint8_t> resident;           // [pages], in GPU memory (recalling policies)
  std::vector<std::int64_t> uses;               // [pages], times selected (recalling policies with an LFU cache)
  std::int64_t recalled = 0;                    // pages of the latest selection that were not resident
};

/// Whose costs a policy is given where its paper, its released code and an engineered version differ.
enum class PolicyVariant : std::uint8_t { paper, released, ideal };
std::string_view name_of(PolicyVariant variant);
/// "paper", "released" or "ideal". Throws InputError naming `field`.
PolicyVariant parse_policy_variant(std::string_view text, std::string_view field);

/// A number that one policy alone knows, with its default from the paper.
struct PolicyOption {
  std::string_view name;  // e.g. "interval"
  double value = 0;
  double min = 0;
  double max = 0;
  std::string_view meaning;
  bool scales_with_context = false;  // a number of tokens that stands for a share of the context
};

/// Parameters that policies share. A budget is either a fraction of the context's pages or a number of tokens.
struct PolicyParams {
  double budget = 0.15;                                     // fraction of pages, (0, 1]; used when budget_tokens == 0
  std::int64_t budget_tokens = 0;                           // tokens; 0 means `budget` decides
  std::int64_t sink_tokens = 4;                             // streaming: tokens kept from the start (StreamingLLM)
  std::optional<PolicyVariant> variant = {};                // none: the policy's first
  std::map<std::string, double, std::less<>> options = {};  // the policy's own, by name
};

/// How the selected sets of a replay come about.
struct PolicyEvidence {
  bool evaluated = true;  // the policy's rule on what the trace recorded; false: modelled, something stands in for it
  std::string_view note;  // what stands in, or at which granularity the rule is evaluated
};

/// Memory that a policy keeps for one sequence, all layers, before tensor-parallel splitting. Bytes.
struct PolicyState {
  std::int64_t gpu_kv = 0;
  std::int64_t gpu_metadata = 0;  // page summaries, last_loaded, scores, index
  std::int64_t host_kv = 0;
  std::int64_t host_metadata = 0;  // index in host memory
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

  /// The pages of one step, one KV head, into `out` (cleared first), as if no step had been before. Its size is
  /// pages_selected(ranked.num_pages, page_size). Throws InputError when the ranking is too short for the budget, or
  /// lacks the masses that the policy ranks by.
  virtual void select(const RankedPages& ranked, int page_size, std::vector<PageId>& out) const = 0;

  /// The same with what the steps before left in `memory`, which it updates. Sizes are as above; a policy that keeps
  /// every generated token (snapkv) adds the pages that came since the first step.
  virtual void select_next(const RankedPages& ranked, int page_size, SelectionMemory& memory,
                           std::vector<PageId>& out) const;

  /// Adds the operations of a sparse layer that come between RoPE/append and attention, in order.
  virtual void add_selection_ops(const LayerContext& layer, StepGraphBuilder& graph) const = 0;

  /// Adds the operations of a sparse layer that come after attention and its merge: eviction, backup, host results.
  virtual void add_after_attention_ops(const LayerContext& layer, StepGraphBuilder& graph) const;

  /// Changes what attention loads on this GPU where that is not the demand's pages: streaming heads, KV repeated to
  /// query heads, keys that the host attends to.
  virtual void shape_attention(const LayerContext& layer, AttentionShape& attention) const;

  /// Expected pages per KV head and step that are selected but not resident in GPU memory, for a demand that no trace
  /// stands behind. 0 for policies that keep the KV cache on the GPU.
  virtual double expected_recalls(std::int64_t num_pages, int page_size) const;

  /// True when RoPE/append keeps page summaries up to date in sparse layers.
  virtual bool keeps_page_summaries() const = 0;

  virtual PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                            int dense_layers) const = 0;

  /// Throws InputError for a configuration in which the policy is not defined.
  virtual void validate(const DecodeConfig& config) const;

  virtual PolicyEvidence evidence() const = 0;

  /// Variants that it has, the default first.
  virtual std::span<const PolicyVariant> variants() const;
  PolicyVariant variant() const { return params_.variant.value_or(variants().front()); }

  const PolicyParams& params() const { return params_; }
  /// Its own options with the values in force.
  std::span<const PolicyOption> options() const { return options_; }

 protected:
  explicit Policy(const PolicyParams& params) : params_(params) {}

  /// Declares an option and returns the value asked for, or the default. Throws InputError outside [min, max].
  double option(std::string_view name, double default_value, double min, double max, std::string_view meaning,
                bool scales_with_context = false);

 private:
  PolicyParams params_;
  std::vector<PolicyOption> options_;
};

/// k from a budget: ceil(budget * num_pages) or ceil(budget_tokens / page_size), in [1, num_pages] (method.md).
std::int64_t pages_in_budget(const PolicyParams& params, std::int64_t num_pages, int page_size);

/// Makes the policy called `name`. Throws InputError listing the names, for a budget outside (0, 1], or for a variant
/// or an option that the policy does not have.
std::shared_ptr<const Policy> make_policy(std::string_view name, const PolicyParams& params);

/// Names on the command line, in the order of policies/registry.cpp. "retro" is not among them: it is quest with
/// window 2.
std::vector<std::string> policy_names();

}  // namespace retrosim
