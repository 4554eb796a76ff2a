// A factor on an operation's roofline, interpolated between knots of its shape: what is left of measured times when
// the physical terms are done.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "model/op.h"

namespace retrosim {

/// A coordinate of an operation's shape.
enum class ShapeAxis : std::uint8_t {
  rows,               // of the block of activations, of a product, or query rows
  columns,            // n of a product, hidden, intermediate or vocabulary size, query heads * head size
  depth,              // k of a product
  lists,              // batch * KV heads
  blocks_per_sm,      // blocks of a launch over SMs
  tokens_per_block,   // keys that one block of decode attention works through
  query_rows,         // window * query group: rows that share a page
  page_size,          // tokens
  head_dim,           // elements
  unseen_per_page,    // older queries that have not seen a loaded page, mean
  splits,             // KV splits per list; of a product, or of what an operation reads of one: partial results
  pages_per_list,     // scored; of rope_append: pages whose summaries change
  selected_per_list,  // pages
  sequences,          // batch
  tokens_per_list,    // keys of one sequence and KV head; of rope_append: those read again for summaries
  merged_rows,        // query rows of a list that decode attention merges in the same launch
  kernel_rows,        // of a product: rows by the own kernel of few rows; one more than its most at least by another
  stages_per_block,   // of a product by the own kernel of few rows (few_row_product.h)
  window,             // rows of a sequence
  qk_norm,            // 1 where Q and K are normalised
  row_tiles,          // of a block of decode attention (attention_warps.h)
  follow_ratio,       // eighths: of a following warp's time over a leading one's (attention_warps.h)
  unseen_share,       // loaded pages that some older query has not seen
  narrow_kv           // 1 where keys and values have 8 bits or fewer
};
inline constexpr int kNumShapeAxes = 24;

std::string_view name_of(ShapeAxis axis);
/// Throws InputError naming `field`.
ShapeAxis parse_shape_axis(std::string_view text, std::string_view field);

/// The coordinate of `op` in the space in which tables interpolate: log2(1 + value). 0 for a kind without this axis.
double shape_coordinate(const Op& op, ShapeAxis axis, int sm_count);

/// Multilinear in the coordinates between knots, constant beyond the outermost.
class LatencyTable {
 public:
  static constexpr std::size_t kMaxAxes = 3;

  struct Axis {
    ShapeAxis axis = ShapeAxis::rows;
    std::vector<double> knots;  // coordinates, ascending, at least one
  };

  LatencyTable() = default;
  /// `log_factors` in the order of the axes, the last one fastest. Throws std::logic_error unless there are 1 to
  /// kMaxAxes axes of ascending knots and as many factors as grid points.
  LatencyTable(std::vector<Axis> axes, std::vector<double> log_factors);

  const std::vector<Axis>& axes() const { return axes_; }
  const std::vector<double>& log_factors() const { return log_factors_; }

  /// Grid points around `op` and their weights, which sum to 1. No allocation.
  struct Stencil {
    std::array<std::uint32_t, 8> point{};
    std::array<double, 8> weight{};
    std::size_t size = 0;
  };
  Stencil stencil(const Op& op, int sm_count) const;

  /// Natural logarithm of the factor on the roofline's time.
  double log_factor(const Op& op, int sm_count) const;

 private:
  std::vector<Axis> axes_;
  std::vector<double> log_factors_;
};

}  // namespace retrosim
