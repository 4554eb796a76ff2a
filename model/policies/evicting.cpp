#include "model/policies/evicting.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "model/error.h"

namespace retrosim {
namespace {

constexpr std::int64_t kScoreBytes = 4;

/// Masses of the ranked pages as attention over `kept` alone gives them: 0 elsewhere, sum 1.
std::vector<float> masses_on(const RankedPages& ranked, const std::vector<PageId>& kept) {
  const auto pages = static_cast<std::size_t>(ranked.num_pages);
  std::vector<float> all(pages, 0.0F);
  for (std::size_t i = 0; i < ranked.pages.size(); ++i) all[ranked.pages[i]] = ranked.mass[i];
  std::vector<float> held(pages, 0.0F);
  float total = 0;
  for (const PageId page : kept) total += held[page] = all[page];
  if (total > 0) {
    for (float& mass : held) mass /= total;
  }
  return held;
}

}  // namespace

void EvictingPolicy::select(const RankedPages& ranked, int page_size, std::vector<PageId>& out) const {
  SelectionMemory memory;
  select_next(ranked, page_size, memory, out);
}

void EvictingPolicy::select_next(const RankedPages& ranked, int page_size, SelectionMemory& memory,
                                 std::vector<PageId>& out) const {
  const bool first = memory.steps == 0;
  const std::int64_t count = pages_selected(ranked.num_pages, page_size);
  // Pages held, in ascending order: those of the step before and the new ones.
  out.assign(memory.kept.begin(), memory.kept.end());
  for (std::int64_t page = memory.num_pages; page < ranked.num_pages; ++page) out.push_back(static_cast<PageId>(page));

  const bool ranks_now = static_cast<std::int64_t>(out.size()) > count && (first || evicts_while_decoding());
  if (ranked.mass.size() != ranked.pages.size() && (ranks_now || count < ranked.num_pages)) {
    throw InputError("", "attention mass", "none",
                     "the mass of each ranked page, which " + std::string(name()) + " keeps pages by");
  }
  memory.score.resize(static_cast<std::size_t>(ranked.num_pages), 0.0);
  if (first && ranks_now) accumulate(masses_on(ranked, out), memory);
  if (ranks_now) {
    const std::int64_t recent = std::clamp<std::int64_t>(recent_pages(count, page_size), 1, count);
    const auto chosen = static_cast<std::ptrdiff_t>(count - recent);
    const auto oldest_recent = out.end() - recent;
    std::nth_element(out.begin(), out.begin() + chosen, oldest_recent, [&](PageId a, PageId b) {
      return memory.score[a] != memory.score[b] ? memory.score[a] > memory.score[b] : a < b;
    });
    out.erase(out.begin() + chosen, oldest_recent);
    std::sort(out.begin(), out.end());
  }
  const bool has_masses = ranked.mass.size() == ranked.pages.size();
  if (has_masses && !(first && ranks_now)) accumulate(masses_on(ranked, out), memory);
  memory.kept = out;
  memory.num_pages = ranked.num_pages;
  memory.recalled = 0;
  ++memory.steps;
}

std::int64_t EvictingPolicy::kept_tokens(std::int64_t context_tokens, int page_size) const {
  return pages_selected(pages_of(context_tokens, page_size), page_size) * page_size;
}

PolicyState EvictingPolicy::state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                                  int dense_layers) const {
  const std::int64_t kept = kept_tokens(context_tokens, page_size);
  return {.gpu_kv = gpu_kv_bytes(llm, kv_dtype, context_tokens, kept, page_size, dense_layers)};
}

void EvictingPolicy::accumulate(const std::vector<float>& mass, SelectionMemory& memory) const {
  for (std::size_t page = 0; page < mass.size(); ++page) memory.score[page] += mass[page];
}

HeavyHitterPolicy::HeavyHitterPolicy(const PolicyParams& params, double recent_share)
    : EvictingPolicy(params),
      recent_share_(
          option("recent_share", recent_share, 0, 1, "share of the budget that goes to the most recent tokens")) {}

PolicyState HeavyHitterPolicy::state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                                     int dense_layers) const {
  PolicyState state = EvictingPolicy::state(llm, context_tokens, page_size, kv_dtype, dense_layers);
  state.gpu_metadata =
      kScoreBytes * (llm.num_layers - dense_layers) * llm.num_q_heads * kept_tokens(context_tokens, page_size);
  return state;
}

std::int64_t HeavyHitterPolicy::recent_pages(std::int64_t count, int /*page_size*/) const {
  return static_cast<std::int64_t>(recent_share_ * static_cast<double>(count) + 0.5);
}

std::int64_t HeavyHitterPolicy::score_bytes(const LayerCounts& counts) {
  return counts.b * counts.hq * counts.attended * kScoreBytes;
}

void add_cache_rewrite(StepGraphBuilder& graph, const LayerCounts& counts, const char* keys, const char* values,
                       int layer) {
  const std::int64_t half = counts.kv(counts.head_tokens) / 2;
  graph.add(CachePassShape{.kv_read = half, .kv_write = half}, keys, layer);
  graph.add(CachePassShape{.kv_read = half, .kv_write = half}, values, layer);
}

}  // namespace retrosim
