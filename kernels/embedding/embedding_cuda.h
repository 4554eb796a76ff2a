// Gathers rows of the embedding table.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "model/dtype.h"

namespace retrosim::kernels::cuda {

struct EmbeddingArgs {
  std::int64_t rows = 0;
  std::int64_t hidden_size = 0;  // a multiple of 8
  DType dtype = DType::bf16;     // bf16 or f32
  // [rows] row of the table, token_stride elements apart
  const std::int32_t* tokens = nullptr;
  std::int64_t token_stride = 1;
  // [vocab_size, hidden_size]
  const void* table = nullptr;
  // [rows, hidden_size]
  void* out = nullptr;
};

/// Throws InputError for a hidden size that it cannot do, CudaError when the launch fails.
void gather_embeddings(const EmbeddingArgs& args, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
