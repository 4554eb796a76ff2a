#include "model/latency_table.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "model/attention_warps.h"
#include "model/error.h"
#include "model/few_row_product.h"

namespace retrosim {
namespace {

constexpr std::array<std::string_view, kNumShapeAxes> kNames{"rows",
                                                             "columns",
                                                             "depth",
                                                             "lists",
                                                             "blocks_per_sm",
                                                             "tokens_per_block",
                                                             "query_rows",
                                                             "page_size",
                                                             "head_dim",
                                                             "unseen_per_page",
                                                             "splits",
                                                             "pages_per_list",
                                                             "selected_per_list",
                                                             "sequences",
                                                             "tokens_per_list",
                                                             "merged_rows",
                                                             "kernel_rows",
                                                             "stages_per_block",
                                                             "window",
                                                             "qk_norm",
                                                             "row_tiles",
                                                             "follow_ratio",
                                                             "unseen_share",
                                                             "narrow_kv"};

double ratio(std::int64_t a, std::int64_t b) {
  return static_cast<double>(a) / static_cast<double>(std::max<std::int64_t>(1, b));
}

struct Value {
  ShapeAxis axis;
  int sm_count;

  double operator()(const EmbeddingShape& s) const { return block(s.rows, s.hidden_size); }
  double operator()(const RmsNormShape& s) const {
    if (axis == ShapeAxis::splits) return s.adds_residual ? static_cast<double>(s.product_splits) : 0;
    return block(s.rows, s.hidden_size);
  }
  double operator()(const SiluMulShape& s) const {
    return axis == ShapeAxis::splits ? static_cast<double>(s.product_splits) : block(s.rows, s.intermediate_size);
  }
  double operator()(const SampleShape& s) const {
    return axis == ShapeAxis::splits ? static_cast<double>(s.product_splits) : block(s.rows, s.vocab_size);
  }
  double operator()(const MatmulShape& s) const {
    const FewRowCut cut = s.splits > 0 ? few_row_cut(s.n, s.k) : FewRowCut{};
    switch (axis) {
      case ShapeAxis::depth: return static_cast<double>(s.k);
      case ShapeAxis::kernel_rows:
        return static_cast<double>(s.splits > 0 ? s.m : std::max(s.m, kFewRowProductRows + 1));
      case ShapeAxis::splits: return static_cast<double>(s.splits);
      case ShapeAxis::blocks_per_sm: return s.splits > 0 ? ratio(cut.blocks(sm_count), sm_count) : 0;
      case ShapeAxis::stages_per_block:
        return s.splits > 0 ? static_cast<double>(cut.units_per_block(sm_count) * cut.stages) : 0;
      default: return block(s.m, s.n);
    }
  }
  double operator()(const RopeAppendShape& s) const {
    switch (axis) {
      case ShapeAxis::blocks_per_sm: return ratio(s.rows_appended * (s.num_q_heads + s.num_kv_heads), sm_count);
      case ShapeAxis::window: return ratio(s.rows, s.rows_appended);
      case ShapeAxis::head_dim: return static_cast<double>(s.head_dim);
      case ShapeAxis::tokens_per_list: return ratio(s.keys_recomputed, s.rows_appended);
      case ShapeAxis::pages_per_list: return ratio(s.pages_recomputed + s.summaries_widened, s.rows_appended);
      case ShapeAxis::qk_norm: return s.qk_norm ? 1 : 0;
      case ShapeAxis::splits: return static_cast<double>(s.product_splits);
      default: return block(s.rows, (s.num_q_heads + 2 * s.num_kv_heads) * s.head_dim);
    }
  }
  double operator()(const PageScoreShape& s) const {
    if (axis == ShapeAxis::lists) return static_cast<double>(s.batch * s.num_kv_heads);
    if (axis == ShapeAxis::pages_per_list) return ratio(s.pages, s.batch);
    if (axis == ShapeAxis::query_rows) return ratio(s.num_q_heads, s.num_kv_heads);
    return axis == ShapeAxis::head_dim ? static_cast<double>(s.head_dim) : 0;
  }
  double operator()(const TopKShape& s) const {
    if (axis == ShapeAxis::lists) return static_cast<double>(s.batch * s.num_kv_heads);
    if (axis == ShapeAxis::pages_per_list) return ratio(s.pages, s.batch);
    return axis == ShapeAxis::selected_per_list ? ratio(s.selected, s.batch) : 0;
  }
  double operator()(const AttentionShape& s) const {
    const std::int64_t lists = s.batch * s.num_kv_heads;
    switch (axis) {
      case ShapeAxis::rows: return static_cast<double>(s.rows);
      case ShapeAxis::columns: return static_cast<double>(s.num_q_heads * s.head_dim);
      case ShapeAxis::lists: return static_cast<double>(lists);
      case ShapeAxis::blocks_per_sm: return attention_warps(s, sm_count).blocks / sm_count;
      case ShapeAxis::row_tiles: return attention_warps(s, sm_count).row_tiles;
      case ShapeAxis::follow_ratio: return 8 * attention_follow_ratio(s, sm_count);
      case ShapeAxis::narrow_kv: return bits_of(s.kv_dtype) <= 8 ? 1 : 0;
      case ShapeAxis::unseen_share: return attention_unseen_share(s);
      case ShapeAxis::tokens_per_block: return ratio(s.tokens_loaded, lists * s.num_splits);
      case ShapeAxis::query_rows: return static_cast<double>(s.window * s.query_group());
      case ShapeAxis::page_size: return static_cast<double>(s.page_size);
      case ShapeAxis::head_dim: return static_cast<double>(s.head_dim);
      case ShapeAxis::unseen_per_page: return ratio(s.unseen_visits, s.pages_loaded);
      case ShapeAxis::splits: return static_cast<double>(s.num_splits);
      case ShapeAxis::merged_rows: return s.merges ? static_cast<double>(s.window * s.query_group()) : 0;
      case ShapeAxis::sequences: return static_cast<double>(s.batch);
      case ShapeAxis::tokens_per_list: return ratio(s.tokens_loaded, lists);
      default: return 0;
    }
  }
  double operator()(const AttentionMergeShape& s) const {
    if (axis == ShapeAxis::splits) return static_cast<double>(s.num_splits);
    if (axis == ShapeAxis::unseen_per_page) return ratio(s.cached_rows, s.rows);
    if (axis == ShapeAxis::head_dim) return static_cast<double>(s.head_dim);
    return block(s.rows, s.num_q_heads * s.head_dim);
  }
  double operator()(const PrefillAttentionShape& s) const {
    if (axis == ShapeAxis::rows) return static_cast<double>(s.batch * s.new_tokens);
    if (axis == ShapeAxis::depth) return static_cast<double>(s.context_before + s.new_tokens);
    if (axis == ShapeAxis::columns) return static_cast<double>(s.num_q_heads * s.head_dim);
    return axis == ShapeAxis::head_dim ? static_cast<double>(s.head_dim) : 0;
  }
  template <class Shape>
  double operator()(const Shape&) const {
    return 0;
  }

 private:
  double block(std::int64_t rows, std::int64_t columns) const {
    if (axis == ShapeAxis::rows) return static_cast<double>(rows);
    return axis == ShapeAxis::columns ? static_cast<double>(columns) : 0;
  }
};

/// The knot before `x` and how far `x` lies on the way to the next one, in [0, 1].
std::pair<std::size_t, double> place(const std::vector<double>& knots, double x) {
  if (!(x > knots.front())) return {0, 0.0};
  if (x >= knots.back()) return {knots.size() - 1, 0.0};
  const auto after = std::upper_bound(knots.begin(), knots.end(), x);
  const auto index = static_cast<std::size_t>(after - knots.begin()) - 1;
  return {index, (x - knots[index]) / (knots[index + 1] - knots[index])};
}

}  // namespace

std::string_view name_of(ShapeAxis axis) { return kNames[static_cast<std::size_t>(axis)]; }

ShapeAxis parse_shape_axis(std::string_view text, std::string_view field) {
  const auto found = std::ranges::find(kNames, text);
  if (found == kNames.end()) throw InputError("", field, text, "an axis of a shape, e.g. rows or columns");
  return static_cast<ShapeAxis>(found - kNames.begin());
}

double shape_coordinate(const Op& op, ShapeAxis axis, int sm_count) {
  return std::log2(1.0 + std::visit(Value{axis, std::max(1, sm_count)}, op.shape));
}

LatencyTable::LatencyTable(std::vector<Axis> axes, std::vector<double> log_factors)
    : axes_(std::move(axes)), log_factors_(std::move(log_factors)) {
  if (axes_.empty() || axes_.size() > kMaxAxes) throw std::logic_error("latency table: one to three axes");
  std::size_t points = 1;
  for (const Axis& axis : axes_) {
    const bool ascends = std::ranges::adjacent_find(axis.knots, std::ranges::greater_equal{}) == axis.knots.end();
    if (axis.knots.empty() || !ascends) throw std::logic_error("latency table: knots must ascend");
    points *= axis.knots.size();
  }
  if (points != log_factors_.size()) throw std::logic_error("latency table: one factor per grid point");
}

LatencyTable::Stencil LatencyTable::stencil(const Op& op, int sm_count) const {
  Stencil result;
  result.size = 1;
  result.weight[0] = 1;
  for (const Axis& axis : axes_) {
    const auto [index, beyond] = place(axis.knots, shape_coordinate(op, axis.axis, sm_count));
    const auto count = static_cast<std::uint32_t>(axis.knots.size());
    const std::size_t before = result.size;
    for (std::size_t i = 0; i < before; ++i) {
      const std::uint32_t first = result.point[i] * count + static_cast<std::uint32_t>(index);
      if (beyond > 0) {
        result.point[result.size] = first + 1;
        result.weight[result.size++] = result.weight[i] * beyond;
      }
      result.point[i] = first;
      result.weight[i] *= 1 - beyond;
    }
  }
  return result;
}

double LatencyTable::log_factor(const Op& op, int sm_count) const {
  const Stencil around = stencil(op, sm_count);
  double sum = 0;
  for (std::size_t i = 0; i < around.size; ++i) sum += around.weight[i] * log_factors_[around.point[i]];
  return sum;
}

}  // namespace retrosim
