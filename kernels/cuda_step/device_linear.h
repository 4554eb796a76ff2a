// A weight matrix on the device, in the layout that the fastest product for its rows wants.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cuda/device_buffer.h"
#include "kernels/cuda_step/product_view.h"
#include "kernels/matmul/lt_matmul_cuda.h"
#include "kernels/matmul/skinny_matmul_cuda.h"

namespace retrosim::kernels::cuda {

enum class MatmulPath : std::uint8_t {
  plain,   // float32, for identities
  skinny,  // bf16, at most kSkinnyMaxRows rows, packed weights
  lt,      // bf16, cuBLASLt
};

class DeviceLinear {
 public:
  DeviceLinear() = default;
  /// Weights of Y[rows, n] = X[rows, k] W[n, k]^T for at most max_rows rows; uninitialised. Throws InputError for a
  /// dtype other than bf16 and f32.
  DeviceLinear(std::int64_t n, std::int64_t k, DType dtype, bool has_bias, std::int64_t max_rows);

  /// Uniform values of variance 1 / k; the bias likewise. The same seed gives the same bytes in every layout of one
  /// path.
  void fill_random(std::uint64_t seed, cudaStream_t stream);
  /// Values are rounded to the dtype. `bias` is empty where there is none.
  void upload(
      // [n, k]
      std::span<const float> weights,
      // [n]
      std::span<const float> bias);

  std::int64_t n() const { return n_; }
  std::int64_t k() const { return k_; }
  MatmulPath path() const { return path_; }
  const void* weights() const { return weights_.data(); }
  std::int64_t weight_bytes() const { return static_cast<std::int64_t>(weights_.size()); }
  /// Bytes that run() may write to `output`.
  std::int64_t output_bytes(std::int64_t rows) const;

  /// What a product may ask into L2 ahead of need; heeded on the skinny path only. Bytes are per block of its launch.
  struct Prefetch {
    std::int64_t own_bytes = 0;          // of its own weights, while it waits for its input
    const DeviceLinear* next = nullptr;  // the product after it
    std::int64_t next_bytes = 0;         // of that one's weights, when its own have been asked for
  };

  /// Enqueues one kernel. `lt` is used on that path only, where it must have chosen an algorithm for this shape.
  ProductView run(
      // [rows, k]
      const void* x, std::int64_t rows, void* output, LtMatmul* lt, int sm_count, const Prefetch& prefetch,
      cudaStream_t stream) const;

 private:
  std::int64_t n_ = 0;
  std::int64_t k_ = 0;
  DType dtype_ = DType::bf16;
  bool has_bias_ = false;
  MatmulPath path_ = MatmulPath::skinny;
  SkinnyPlan plan_;
  DeviceBuffer<unsigned char> weights_;
  DeviceBuffer<unsigned char> bias_;
};

}  // namespace retrosim::kernels::cuda
