// y = silu(gate) * up, both halves of one [rows, 2 * intermediate_size] block.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda_step/product_view.h"

namespace retrosim::kernels::cuda {

struct SiluMulArgs {
  std::int64_t rows = 0;
  std::int64_t intermediate_size = 0;  // a multiple of 8
  // [rows, 2 * intermediate_size]: gate, then up
  ProductView gate_up;
  DType dtype = DType::bf16;  // of y: bf16 or f32
  // [rows, intermediate_size]
  void* y = nullptr;
};

/// Throws InputError for an intermediate size that it cannot do, CudaError when the launch fails.
void silu_mul(const SiluMulArgs& args, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
