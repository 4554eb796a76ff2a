// Full attention: every page, every step.
#include <numeric>

#include "model/policy.h"

namespace retrosim {
namespace {

class FullPolicy final : public Policy {
 public:
  explicit FullPolicy(const PolicyParams& params) : Policy(params) {}

  std::string_view name() const override { return "full"; }
  std::int64_t pages_selected(std::int64_t num_pages, int /*page_size*/) const override { return num_pages; }
  bool can_return_to_skipped_pages() const override { return false; }
  bool selects_by_score() const override { return false; }
  PolicyEvidence evidence() const override { return {.note = "every page, whatever the scores"}; }
  bool keeps_page_summaries() const override { return false; }

  void select(const RankedPages& ranked, int /*page_size*/, std::vector<PageId>& out) const override {
    out.resize(static_cast<std::size_t>(ranked.num_pages));
    std::iota(out.begin(), out.end(), PageId{0});
  }

  void add_selection_ops(const LayerContext& /*layer*/, StepGraphBuilder& /*graph*/) const override {}

  PolicyState state(const LlmSpec& llm, std::int64_t context_tokens, int page_size, DType kv_dtype,
                    int /*dense_layers*/) const override {
    const std::int64_t pages = (context_tokens + page_size - 1) / page_size;
    return {.gpu_kv = pages * page_size * llm.kv_bytes_per_token(kv_dtype)};
  }
};

}  // namespace

std::shared_ptr<const Policy> make_full_policy(const PolicyParams& params) {
  return std::make_shared<FullPolicy>(params);
}

}  // namespace retrosim
