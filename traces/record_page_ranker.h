// Ranks pages by Quest's score while a forward pass runs, and sums the attention mass on each.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/forward/dense_forward.h"
#include "model/policy.h"

namespace retrosim {

/// Rankings of one KV head at one step.
struct PageRanks {
  std::vector<PageId> pages;  // descending score, ties to the lower id; the first top_m
  std::vector<float> mass;    // attention mass of each: mean over the group's query heads
  float rest = 0;             // mass of the pages not listed
};

/// Pages in descending order of score, ties to the lower id, with their mass; top_m 0 lists all.
void order_pages(
    // [pages]
    std::span<const float> scores,
    // [pages]
    std::span<const float> mass, std::int64_t top_m, PageRanks& ranks);

class PageRanker final : public kernels::ForwardObserver {
 public:
  /// layers: ascending. top_m 0 keeps every page.
  PageRanker(const LlmSpec& llm, std::vector<int> layers, std::int64_t page_size, std::int64_t max_tokens,
             std::int64_t top_m);

  /// From here on, summaries are kept; and rankings too, of `count` positions from `first_position`, when count > 0.
  void expect(std::int64_t first_position, std::int64_t count);

  /// Of recorded layer number `slot` at the step-th expected position.
  const PageRanks& ranks(std::int64_t step, std::size_t slot, std::int64_t kv_head) const;

  bool watches(int layer) const override { return slot_of(layer) >= 0; }
  void keys_ready(int layer, std::int64_t first_position, std::int64_t count, const float* keys,
                  std::int64_t head_stride) override;
  void attention(const kernels::AttentionBlock& block) override;

 private:
  int slot_of(int layer) const;
  void score_rows(const kernels::AttentionBlock& block, std::vector<float>& scores) const;
  float score_of_open_page(const kernels::AttentionBlock& block, std::int64_t row, std::int64_t head) const;

  const LlmSpec& llm_;
  std::vector<int> layers_;
  std::int64_t page_size_;
  std::int64_t max_pages_;
  std::int64_t top_m_;
  const kernels::ForwardMath& math_;
  std::int64_t first_position_ = 0;
  std::int64_t count_ = 0;
  const float* keys_ = nullptr;  // of the layer that is running
  std::int64_t head_stride_ = 0;
  // [layers][num_kv_heads, max_pages, 2 (max, min), head_dim] of complete pages
  std::vector<std::vector<float>> summaries_;
  // [count, layers, num_kv_heads]
  std::vector<PageRanks> ranks_;
};

}  // namespace retrosim
