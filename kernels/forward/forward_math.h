// The arithmetic that a chunked forward pass spends its time in, once for the build's baseline CPU and once for AVX2
// with FMA; chosen when the program runs.
#pragma once

#include <cstdint>

namespace retrosim::kernels {

/// All matrices are row-major; `*_stride` is the distance of two rows, in elements.
struct ForwardMath {
  const char* name;

  /// c[m, n] = a[m, k] * b[n, k]^T
  void (*multiply_transposed)(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_stride,
                              const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride);
  /// c[m, n] = a[m, k] * b[k, n]
  void (*multiply)(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_stride,
                   const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride);
  /// c[m, n] = a[m, k] * b[n, k]^T for a handful of rows, without packing
  void (*dots)(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_stride, const float* b,
               std::int64_t b_stride, float* c, std::int64_t c_stride);
  /// c[m, k] += a[m, n] * b[n, k], likewise
  void (*add_weighted)(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_stride,
                       const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride);
  /// Largest of row[0 .. n); n >= 1
  float (*maximum)(const float* row, std::int64_t n);
  /// row[i] = exp(scale * (row[i] - max row)); returns their sum. n >= 1.
  float (*exponentials)(float* row, std::int64_t n, float scale);
  /// sums[j] = sum of row[j * block .. min((j + 1) * block, n)), times scale
  void (*block_sums)(const float* row, std::int64_t n, std::int64_t block, float scale, float* sums);
  /// out[i] = gate[i] / (1 + exp(-gate[i])) * up[i]
  void (*silu_mul)(const float* gate, const float* up, std::int64_t n, float* out);
};

/// The fastest one that this CPU runs.
const ForwardMath& forward_math();

/// Every one that this CPU runs, the baseline first; for tests.
const ForwardMath& baseline_forward_math();
/// nullptr where the build or the CPU has no AVX2 with FMA.
const ForwardMath* avx2_forward_math();

}  // namespace retrosim::kernels
