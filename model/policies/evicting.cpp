#include "model/policies/evicting.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "model/error.h"

namespace retrosim {
namespace {

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

}  // namespace retrosim
