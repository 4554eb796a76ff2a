// Float32 product on CUDA cores, for the identities in float32; not made for speed.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace retrosim::kernels::cuda {

/// Y[m, n] = X[m, k] W[n, k]^T (+ bias[n]). Each row of Y is computed in the same order whatever m is.
void plain_matmul(std::int64_t m, std::int64_t n, std::int64_t k,
                  // [m, k]
                  const float* x,
                  // [n, k]
                  const float* weights,
                  // [n] or null
                  const float* bias,
                  // [m, n]
                  float* y, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
