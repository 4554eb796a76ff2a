// bf16 products through cuBLASLt, with the algorithm chosen by timing each candidate once per shape.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

namespace retrosim::kernels::cuda {

/// Holds a cuBLASLt handle, its workspace and the algorithms chosen so far. Not thread-safe; one stream at a time.
class LtMatmul {
 public:
  explicit LtMatmul(std::size_t workspace_bytes = 32U << 20);
  ~LtMatmul();
  LtMatmul(const LtMatmul&) = delete;
  LtMatmul& operator=(const LtMatmul&) = delete;

  /// Times up to 16 algorithms of the library's heuristic on buffers of its own and keeps the fastest; a no-op for a
  /// shape that has one. Must not be called while a stream is being captured. Returns its median time in microseconds.
  double choose(std::int64_t m, std::int64_t n, std::int64_t k, bool bias);

  /// Y[m, n] = X[m, k] W[n, k]^T (+ bias[n]). Throws std::logic_error for a shape without a chosen algorithm.
  void run(std::int64_t m, std::int64_t n, std::int64_t k,
           // [m, k]
           const __nv_bfloat16* x,
           // [n, k]
           const __nv_bfloat16* weights,
           // [n] or null
           const __nv_bfloat16* bias,
           // [m, n]
           __nv_bfloat16* y, cudaStream_t stream);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retrosim::kernels::cuda
