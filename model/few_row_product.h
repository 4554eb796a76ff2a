// How the own kernel for products of a few rows (kernels/matmul) cuts its work. Used by the step graph and by the
// kernel alike.
#pragma once

#include <cstdint>

namespace retrosim {

inline constexpr std::int64_t kFewRowProductRows = 16;  // at most
inline constexpr int kFewRowStageColumns = 512;         // columns of W that one stage of its ring holds
inline constexpr int kFewRowMaxStages = 8;              // of a unit: its part of X stays in registers

/// Units of 16 rows of W times `stages` stages; `splits` units make up a row of W, each with a partial result.
struct FewRowCut {
  std::int64_t tiles = 0;  // of 16 rows of W
  std::int64_t splits = 1;
  std::int64_t stages = 0;  // per unit

  std::int64_t units() const { return tiles * splits; }
  /// Units of a block at most: as many as with a block on every SM.
  std::int64_t units_per_block(std::int64_t sm_count) const { return (units() + sm_count - 1) / sm_count; }
  /// No more blocks than that takes: the SMs left over hold the small kernels between products, and no product waits
  /// for one of those to end before its last block can start.
  std::int64_t blocks(std::int64_t sm_count) const {
    const std::int64_t each = units_per_block(sm_count);
    return (units() + each - 1) / each;
  }
};

/// Y[m, n] = X[m, k] W[n, k]^T; n and k at least 1.
FewRowCut few_row_cut(std::int64_t n, std::int64_t k);

}  // namespace retrosim
