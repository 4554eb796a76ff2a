#include "traces/compare_rankings.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/error.h"

namespace retrosim {
namespace {

/// Walks over one layer of a trace, chunk by chunk.
class LayerCursor {
 public:
  LayerCursor(const TraceReader& trace, int slot) : trace_(trace), slot_(slot) {}

  RankedPages at(std::int64_t step, int head) {
    const std::int64_t chunk = trace_.chunk_of_step(step);
    if (chunk != chunk_) trace_.read_layer(chunk, slot_, columns_);
    chunk_ = chunk;
    return columns_.at(step - columns_.first_step(), head).ranked();
  }

 private:
  const TraceReader& trace_;
  int slot_;
  std::int64_t chunk_ = -1;
  LayerColumns columns_;
};

void require_same(const TraceReader& a, const TraceReader& b, const char* field, std::int64_t x, std::int64_t y) {
  if (x != y) throw InputError(b.origin(), field, std::to_string(y), std::to_string(x) + " as in " + a.origin());
}

/// Adds one list's shares.
void add(RankingComparison& sum, const RankedPages& a, const RankedPages& b, double budget, std::vector<float>& mass,
         std::vector<std::uint8_t>& best) {
  const std::size_t listed = std::min(a.pages.size(), b.pages.size());
  std::size_t same = 0;
  for (std::size_t i = 0; i < listed; ++i) same += a.pages[i] == b.pages[i] ? 1U : 0U;
  ++sum.lists;
  sum.same_order += same == listed ? 1 : 0;
  sum.same_ranks += static_cast<double>(same) / static_cast<double>(listed);
  const auto k = std::min(listed, static_cast<std::size_t>(std::ceil(budget * static_cast<double>(a.num_pages))));
  best.assign(static_cast<std::size_t>(a.num_pages), 0);
  for (std::size_t i = 0; i < k; ++i) best[a.pages[i]] = 1;
  std::size_t common = 0;
  for (std::size_t i = 0; i < k; ++i) common += best[b.pages[i]];
  sum.top_k_overlap += static_cast<double>(common) / static_cast<double>(k);
  if (a.mass.size() != a.pages.size() || b.mass.size() != b.pages.size()) return;
  mass.assign(static_cast<std::size_t>(a.num_pages), 0);
  for (std::size_t i = 0; i < a.pages.size(); ++i) mass[a.pages[i]] += a.mass[i];
  for (std::size_t i = 0; i < b.pages.size(); ++i) mass[b.pages[i]] -= b.mass[i];
  for (const float difference : mass) sum.mass_difference += std::abs(difference);
}

}  // namespace

RankingComparison compare_rankings(const TraceReader& a, const TraceReader& b, double budget) {
  const TraceHeader& of_a = a.header();
  const TraceHeader& of_b = b.header();
  require_same(a, b, "page_size", of_a.page_size, of_b.page_size);
  require_same(a, b, "num_layers", of_a.num_layers, of_b.num_layers);
  require_same(a, b, "num_kv_heads", of_a.num_kv_heads, of_b.num_kv_heads);
  if (!(budget > 0 && budget <= 1)) throw InputError("", "budget", std::to_string(budget), "above 0 and at most 1");
  const std::int64_t begin = std::max(of_a.first_position, of_b.first_position);
  const std::int64_t end = std::min(of_a.first_position + a.num_steps(), of_b.first_position + b.num_steps());
  RankingComparison sum{.steps = std::max<std::int64_t>(0, end - begin)};
  std::vector<float> mass;
  std::vector<std::uint8_t> best;
  for (std::size_t slot = 0; slot < of_a.recorded_layers.size(); ++slot) {
    const int other = of_b.slot_of_layer(of_a.recorded_layers[slot]);
    if (other < 0) continue;
    LayerCursor cursor_a(a, static_cast<int>(slot));
    LayerCursor cursor_b(b, other);
    for (std::int64_t position = begin; position < end; ++position) {
      for (int head = 0; head < of_a.num_kv_heads; ++head) {
        add(sum, cursor_a.at(position - of_a.first_position, head), cursor_b.at(position - of_b.first_position, head),
            budget, mass, best);
      }
    }
  }
  if (sum.lists == 0)
    throw InputError(b.origin(), "steps", "none", "a step and a layer that " + a.origin() + " has too");
  const auto lists = static_cast<double>(sum.lists);
  sum.same_order /= lists;
  sum.same_ranks /= lists;
  sum.top_k_overlap /= lists;
  sum.mass_difference /= lists;
  return sum;
}

}  // namespace retrosim
