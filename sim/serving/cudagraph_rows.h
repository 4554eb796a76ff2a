// Rows that a step has when it runs as a captured CUDA graph.
#pragma once

#include <cstdint>

namespace retrosim {

/// The least of vLLM's default capture sizes (cudagraph_capture_sizes: 1, 2, 4, multiples of 8 up to 256, then of 16 up
/// to 512) that holds `rows`, at least 1; beyond 512 a step runs without a graph, as it is.
constexpr std::int64_t cudagraph_rows(std::int64_t rows) {
  constexpr std::int64_t kLargest = 512;
  if (rows <= 2 || rows > kLargest) return rows;
  if (rows <= 4) return 4;
  const std::int64_t multiple = rows <= 256 ? 8 : 16;
  return (rows + multiple - 1) / multiple * multiple;
}

}  // namespace retrosim
