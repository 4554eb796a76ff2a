// The result of a product as its reader sees it.
#pragma once

#include <cstdint>

#include "model/dtype.h"

namespace retrosim::kernels::cuda {

/// [rows, n] of bf16 or float32 when splits == 1; else `splits` float32 partial results, split_stride elements apart,
/// whose sum is the product. Split products leave the sum to their reader: it costs no launch and no atomics, and its
/// order is fixed.
struct ProductView {
  const void* data = nullptr;
  DType dtype = DType::bf16;
  int splits = 1;
  std::int64_t split_stride = 0;
};

}  // namespace retrosim::kernels::cuda
