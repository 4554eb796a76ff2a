#include "model/dram_traffic.h"

#include <algorithm>

namespace retrosim {
namespace {

constexpr double kShareOfL2 = 0.6;
constexpr std::int64_t kTileRows = 128;
constexpr std::int64_t kTileColumns = 256;

double tiles(std::int64_t size, std::int64_t tile) { return static_cast<double>((size + tile - 1) / tile); }

double touched_bytes(const Op& op, const Traffic& traffic) {
  const auto once = static_cast<double>(traffic.hbm());
  const auto* product = std::get_if<MatmulShape>(&op.shape);
  if (product == nullptr || product->num_groups > 1) return once;
  return tiles(product->m, kTileRows) * static_cast<double>(product->weight_bytes()) +
         tiles(product->n, kTileColumns) *
             static_cast<double>(bytes_of(product->activation_dtype, product->m * product->k)) +
         static_cast<double>(traffic.hbm_write());
}

}  // namespace

std::vector<DramTraffic> dram_traffic(const StepGraph& graph, std::int64_t l2_bytes) {
  const double capacity = kShareOfL2 * static_cast<double>(l2_bytes);
  std::vector<DramTraffic> result;
  double dirty = 0;
  bool found_by_reader = false;  // whether the next operation finds the dirty bytes in L2
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
    const Op& op = graph.op(v);
    const Traffic traffic = op.bytes_moved();
    const auto written = static_cast<double>(traffic.hbm_write());
    const double touched = touched_bytes(op, traffic);
    const double found = found_by_reader ? std::min(dirty, static_cast<double>(traffic.other_read)) : 0;
    const double left =
        touched > 0 ? written * std::min(1.0, capacity / touched) + dirty * std::max(0.0, 1 - touched / capacity)
                    : dirty;
    result.push_back(
        {.read_bytes = static_cast<double>(traffic.hbm_read()) - found, .write_bytes = written + dirty - left});
    dirty = left;
    found_by_reader = op.kind() == OpKind::matmul || touched <= capacity;
  }
  return result;
}

}  // namespace retrosim
