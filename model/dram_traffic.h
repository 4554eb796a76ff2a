// What of a step's traffic reaches DRAM: Traffic counts every byte that an operation reads or writes; the L2 cache
// keeps some of what is handed on.
#pragma once

#include <cstdint>
#include <vector>

#include "model/step_graph.h"

namespace retrosim {

struct DramTraffic {
  double read_bytes = 0;
  double write_bytes = 0;
};

/// One entry per operation, in the order of the vertices, which is that of the launches. L2 holds what was touched
/// last, up to a share of its capacity, so an operation that touches T bytes, W of them written, leaves
///
///   dirty = W min(1, L / T) + dirty before * max(0, 1 - T / L),   L = 0.6 * l2_bytes
///
/// behind, which a later operation writes back: DRAM sees W + dirty before - dirty. A product touches its operands once
/// per output tile of 128 x 256. Reads find in L2 what a product has just left there; what other kernels leave is
/// evicted by the reader itself before it gets there, as it reads in the order of writing (the worst case of LRU),
/// unless all that the writer touched is still there. The share 0.6 is what an H100's counters say of 17 products and
/// 34 other kernels that write 64 MB and more.
std::vector<DramTraffic> dram_traffic(const StepGraph& graph, std::int64_t l2_bytes);

}  // namespace retrosim
