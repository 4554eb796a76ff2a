// One synthetic KV head: a model's rows, laid out over the pages of a context and ranked.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/policy.h"
#include "traces/synthesis/rank_model.h"
#include "traces/synthesis/step_path.h"

namespace retrosim {

/// Which bulk page of the model, and which of its copies, a synthetic page is. Shared by all lists of one model shape.
struct PageLayout {
  std::vector<std::int32_t> source;  // [pages of the last step]
  std::vector<std::int32_t> copy;    // [pages of the last step], the number of its step path
  std::int64_t copies = 1;           // step paths
};

/// For contexts of `first_pages` to `last_pages` pages; pages after the first step's bulk are drawn by `seed`.
PageLayout make_page_layout(std::int64_t bulk_pages, std::int64_t first_pages, std::int64_t last_pages,
                            std::uint64_t seed);

class SyntheticList {
 public:
  /// All must outlive it; `paths` has layout.copies entries, the first of which moves the recent places.
  SyntheticList(const RankModel& model, const PageLayout& layout, std::span<const StepPath> paths)
      : model_(&model), layout_(&layout), paths_(paths) {}

  /// Ranks the `num_pages` pages of one step. The spans are valid until the next call.
  void step(std::int64_t step, std::int64_t num_pages);
  std::span<const PageId> pages() const { return pages_; }
  std::span<const float> mass() const { return mass_; }

 private:
  const RankModel* model_;
  const PageLayout* layout_;
  std::span<const StepPath> paths_;
  std::vector<std::vector<float>> z_;  // [copies][rows]
  std::vector<std::vector<float>> y_;
  std::vector<float> score_;   // [pages]
  std::vector<float> weight_;  // [pages]
  std::vector<PageId> pages_;
  std::vector<float> mass_;  // by rank
};

}  // namespace retrosim
