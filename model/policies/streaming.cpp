// StreamingLLM (arXiv 2309.17453): the first tokens (attention sinks) and the most recent ones, at page granularity;
// everything between is evicted from the sparse layers for good.
#include <algorithm>

#include "model/policy.h"

namespace retrosim {
namespace {

class StreamingPolicy final : public Policy {
 public:
  explicit StreamingPolicy(const PolicyParams& params) : Policy(params) {}

  std::string_view name() const override { return "streaming"; }
  std::int64_t pages_selected(std::int64_t num_pages, int page_size) const override {
    return pages_in_budget(params(), num_pages, page_size);
  }
  bool can_return_to_skipped_pages() const override { return false; }
  bool selects_by_score() const override { return false; }
  bool keeps_page_summaries() const override { return false; }

  void select(const RankedPages& ranked, int page_size, std::vector<PageId>& out) const override {
    const std::int64_t count = pages_selected(ranked.num_pages, page_size);
    // The page being filled comes first; sinks take what is left, at most their own pages.
    const std::int64_t sinks = std::min(count - 1, (params().sink_tokens + page_size - 1) / page_size);
    out.clear();
    for (std::int64_t page = 0; page < sinks; ++page) out.push_back(static_cast<PageId>(page));
    for (std::int64_t page = ranked.num_pages - (count - sinks); page < ranked.num_pages; ++page) {
      out.push_back(static_cast<PageId>(page));
    }
  }

  void add_selection_ops(const LayerContext& /*layer*/, StepGraphBuilder& /*graph*/) const override {}

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int dense_layers) const override {
    const std::int64_t pages = (context_tokens + page_size - 1) / page_size;
    const std::int64_t kept = pages_selected(pages, page_size);
    const std::int64_t per_token_and_layer = llm.kv_bytes_per_token(kv_dtype) / llm.num_layers;
    const std::int64_t page_layers = pages * dense_layers + kept * (llm.num_layers - dense_layers);
    return {.gpu_kv = page_layers * page_size * per_token_and_layer};
  }
};

}  // namespace

std::shared_ptr<const Policy> make_streaming_policy(const PolicyParams& params) {
  return std::make_shared<StreamingPolicy>(params);
}

}  // namespace retrosim
