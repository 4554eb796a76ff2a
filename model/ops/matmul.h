#pragma once

#include <cstdint>

#include "model/dtype.h"
#include "model/traffic.h"

namespace retrosim {

/// Y[m, n] = X[m, k] W[k, n] (+ bias[n]). For a mixture of experts `num_groups` such products with m rows in all run in
/// one launch, each reading its own W: the rows are those of `num_groups` distinct experts.
struct MatmulShape {
  std::int64_t m = 0;  // rows of all groups together
  std::int64_t n = 0;
  std::int64_t k = 0;
  DType weight_dtype = DType::bf16;
  DType activation_dtype = DType::bf16;
  std::int64_t num_groups = 1;
  bool bias = false;
  double bandwidth_share = 1;  // of the bandwidth that products with 16-bit weights reach
  // float32 partial results that the own kernel of few rows (few_row_product.h) leaves for the reader of Y to add up;
  // 1: it writes Y itself. 0: another kernel, which always does.
  std::int64_t splits = 0;

  std::int64_t weight_bytes() const { return num_groups * bytes_of(weight_dtype, n * k); }
  Traffic bytes_moved() const {
    return {.weight_read = weight_bytes() + (bias ? num_groups * bytes_of(weight_dtype, n) : 0),
            .other_read = bytes_of(activation_dtype, m * k),
            .other_write = splits > 1 ? splits * m * n * 4 : bytes_of(activation_dtype, m * n)};
  }
  double flops() const { return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k); }
};

/// Router of a mixture of experts: softmax over num_experts and top-k of them, per row.
struct MoeRouteShape {
  std::int64_t rows = 0;
  std::int64_t num_experts = 0;
  std::int64_t experts_per_token = 0;

  Traffic bytes_moved() const {
    return {.other_read = rows * num_experts * 4, .other_write = rows * experts_per_token * 8};
  }
  double flops() const { return static_cast<double>(rows * num_experts) * 5.0; }
};

}  // namespace retrosim
