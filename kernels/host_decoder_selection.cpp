// Which pages the host decoder's current query attends to.
#include <algorithm>
#include <numeric>

#include "kernels/host_decoder.h"
#include "kernels/page_score/page_score.h"
#include "kernels/top_k/top_k.h"

namespace retrosim::kernels {

void HostDecoder::score_pages(int layer) {
  const LlmSpec& llm = config_.llm;
  scores_.resize(static_cast<std::size_t>(config_.batch * lists() * max_pages_));
  const std::int64_t q_stride = rows_per_sequence_ * llm.num_q_heads * llm.head_dim;
  const HostKvCache::Layer& pages = pages_of(layer);
  if (options_.ranking == PageRanking::attention_mass) {
    simd::page_masses(cache_->shape, table(), llm.num_q_heads, options_.reduction, q_, q_stride, pages.kv, scores_);
  } else if (options_.arithmetic == HostArithmetic::simd) {
    simd::page_scores(cache_->shape, table(), llm.num_q_heads, options_.reduction, q_, q_stride, pages.summaries,
                      scores_);
  } else {
    host::page_scores(cache_->shape, table(), llm.num_q_heads, options_.reduction, q_, q_stride, pages.summaries,
                      scores_);
  }
}

void HostDecoder::execute(const Op& op, const PageScoreShape& /*shape*/) { score_pages(op.layer); }

void HostDecoder::execute(const Op& op, const TopKShape& /*shape*/) {
  HostLayerState& state = state_of(op);
  if (config_.policy->name() == "quest") {
    const std::vector<std::int32_t> k(context_lens_.size(), static_cast<std::int32_t>(config_.policy->pages_selected(
                                                                config_.num_pages(), config_.page_size)));
    host::select_top_k(table(), config_.page_size, lists(), max_pages_, scores_, k, state.selected,
                       state.selected_counts);
  } else {
    select_by_policy(state);
  }
  has_selection_ = true;
}

// The policy's own rule over the pages in the order of scores_, with its memory of the steps before.
void HostDecoder::select_by_policy(HostLayerState& state) {
  const std::int64_t pages = config_.num_pages();
  std::vector<PageId> ranked(static_cast<std::size_t>(pages));
  std::vector<PageId> chosen;
  for (std::int64_t list = 0; list < config_.batch * lists(); ++list) {
    const float* scores = &scores_[list * max_pages_];
    std::iota(ranked.begin(), ranked.end(), 0U);
    std::stable_sort(ranked.begin(), ranked.end(), [scores](PageId a, PageId b) { return scores[a] > scores[b]; });
    config_.policy->select_next({.pages = ranked, .num_pages = pages, .position = num_tokens_ - 1}, config_.page_size,
                                state.memory[list], chosen);
    std::copy(chosen.begin(), chosen.end(), state.selected.begin() + list * max_pages_);
    state.selected_counts[list] = static_cast<std::int32_t>(chosen.size());
  }
}

// Where the graph has no selection operations: policies that do not rank pages, a budget of all pages, and steps in
// which an earlier selection serves.
void HostDecoder::select_without_scores(int layer) {
  HostLayerState& state = layers_[static_cast<std::size_t>(layer)];
  const std::int64_t pages = config_.num_pages();
  if (config_.policy->selects_by_score() && config_.policy->pages_selected(pages, config_.page_size) < pages) {
    // A policy that reuses its selections and has none yet makes one, wherever its schedule stands.
    if (state.memory.front().steps == 0) score_pages(layer);
    select_by_policy(state);
    return;
  }
  std::vector<PageId> all(static_cast<std::size_t>(pages));
  std::iota(all.begin(), all.end(), 0U);
  std::vector<PageId> chosen;
  config_.policy->select({.pages = all, .num_pages = pages}, config_.page_size, chosen);
  for (std::int64_t list = 0; list < config_.batch * lists(); ++list) {
    std::copy(chosen.begin(), chosen.end(), state.selected.begin() + list * max_pages_);
    state.selected_counts[list] = static_cast<std::int32_t>(chosen.size());
  }
}

// Adds the pages that were chosen in the served_steps - 1 steps before, and marks this step's own choice.
void HostDecoder::serve_earlier_choices(HostLayerState& state) {
  const auto now = static_cast<std::int32_t>(num_tokens_ - 1);
  for (std::int64_t list = 0; list < config_.batch * lists(); ++list) {
    std::int32_t* selected = &state.selected[list * max_pages_];
    std::int32_t* last_chosen = &state.last_chosen[list * max_pages_];
    std::int32_t& count = state.selected_counts[list];
    for (std::int32_t i = 0; i < count; ++i) last_chosen[selected[i]] = now;
    for (std::int32_t page = 0; page < config_.num_pages(); ++page) {
      const std::int32_t last = last_chosen[page];
      if (last >= 0 && last < now && now - last < options_.served_steps) selected[count++] = page;
    }
  }
}

}  // namespace retrosim::kernels
