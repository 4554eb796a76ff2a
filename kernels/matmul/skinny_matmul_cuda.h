// Products of a few rows with a large weight matrix at the speed of memory: Y[m, n] = X[m, k] W[n, k]^T, m <= 16, bf16.
//
// The weights are the M operand of mma.m16n8k16 and the rows of X its N operand. They are stored in the order in which
// the warps consume them (pack_skinny_weights), so each block reads one contiguous stream through a ring of bulk copies
// into shared memory; it starts to do so before its predecessor has ended, as weights depend on nothing.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "model/few_row_product.h"

namespace retrosim::kernels::cuda {

inline constexpr int kSkinnyMaxRows = kFewRowProductRows;

/// How a product is cut: units of 16 rows of W times stages * 512 columns; `splits` units make up a row of W.
struct SkinnyPlan {
  std::int64_t n = 0;
  std::int64_t k = 0;
  int splits = 1;          // partial results that the reader of Y adds up
  int stages = 0;          // of 512 columns, per unit
  std::int64_t tiles = 0;  // of 16 rows of W

  constexpr std::int64_t units() const { return tiles * splits; }
  /// Bytes of the packed weights: those of W where n is a multiple of 16 and k of 512 * splits, else padded with zeros.
  constexpr std::int64_t packed_bytes() const { return units() * stages * 16384; }
};

/// Throws InputError unless k is a positive multiple of 8.
SkinnyPlan plan_skinny_matmul(std::int64_t n, std::int64_t k);

void pack_skinny_weights(const SkinnyPlan& plan,
                         // [n, k], on the device
                         const __nv_bfloat16* weights,
                         // [packed_bytes], on the device
                         void* packed, cudaStream_t stream);

struct SkinnyMatmulArgs {
  int rows = 0;  // 1 to kSkinnyMaxRows
  // [rows, k], rows x_row_stride elements apart (a multiple of 8)
  const __nv_bfloat16* x = nullptr;
  std::int64_t x_row_stride = 0;
  const void* packed = nullptr;
  // [n] or null; added to the first split
  const __nv_bfloat16* bias = nullptr;
  // [rows, n], used when splits == 1 and `partials` is null
  __nv_bfloat16* y = nullptr;
  // [splits, rows, n], or null
  float* partials = nullptr;
  // Of each block's stream, how much beyond its ring is asked into L2 before the predecessor has ended.
  std::int64_t prefetch_bytes_per_block = 0;
  // Packed weights of the next product, or null. Once a block's own weights are on their way it asks this much of what
  // a block of the next product reads beyond its ring into L2, so that memory does not idle between the two.
  const void* next_packed = nullptr;
  SkinnyPlan next_plan;
  std::int64_t next_prefetch_bytes_per_block = 0;
};

/// Throws CudaError when the launch fails, std::logic_error for arguments that break the rules above.
void skinny_matmul(const SkinnyPlan& plan, const SkinnyMatmulArgs& args, int sm_count, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
