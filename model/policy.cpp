#include "model/policy.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "model/error.h"
#include "model/step_graph.h"

namespace retrosim {

std::string_view name_of(PolicyVariant variant) {
  switch (variant) {
    case PolicyVariant::paper: return "paper";
    case PolicyVariant::released: return "released";
    case PolicyVariant::ideal: return "ideal";
  }
  return "unknown";
}

PolicyVariant parse_policy_variant(std::string_view text, std::string_view field) {
  for (const PolicyVariant variant : {PolicyVariant::paper, PolicyVariant::released, PolicyVariant::ideal}) {
    if (text == name_of(variant)) return variant;
  }
  throw InputError("", field, text, "paper, released or ideal");
}

void Policy::select_next(const RankedPages& ranked, int page_size, SelectionMemory& memory,
                         std::vector<PageId>& out) const {
  select(ranked, page_size, out);
  memory.num_pages = ranked.num_pages;
  memory.recalled = 0;
  ++memory.steps;
}

void Policy::add_after_attention_ops(const LayerContext& /*layer*/, StepGraphBuilder& /*graph*/) const {}
void Policy::shape_attention(const LayerContext& /*layer*/, AttentionShape& /*attention*/) const {}
double Policy::expected_recalls(std::int64_t /*num_pages*/, int /*page_size*/) const { return 0; }
void Policy::validate(const DecodeConfig& /*config*/) const {}

std::span<const PolicyVariant> Policy::variants() const {
  static constexpr std::array kPaper{PolicyVariant::paper};
  return kPaper;
}

double Policy::option(std::string_view name, double default_value, double min, double max, std::string_view meaning,
                      bool scales_with_context) {
  const auto given = params_.options.find(name);
  const double value = given == params_.options.end() ? default_value : given->second;
  if (!(value >= min && value <= max)) {
    throw InputError("", "policy option " + std::string(name), std::to_string(value),
                     std::to_string(min) + " to " + std::to_string(max) + " (" + std::string(meaning) + ")");
  }
  options_.push_back({.name = name,
                      .value = value,
                      .min = min,
                      .max = max,
                      .meaning = meaning,
                      .scales_with_context = scales_with_context});
  return value;
}

std::int64_t pages_in_budget(const PolicyParams& params, std::int64_t num_pages, int page_size) {
  // ceil(budget * Np), forgiving the last bit of a decimal fraction: 0.15 * 20 pages is 3 pages, not 4.
  const std::int64_t pages =
      params.budget_tokens > 0
          ? (params.budget_tokens + page_size - 1) / page_size
          : static_cast<std::int64_t>(std::ceil(params.budget * static_cast<double>(num_pages) * (1 - 1e-12)));
  return std::clamp<std::int64_t>(pages, 1, num_pages);
}

}  // namespace retrosim
