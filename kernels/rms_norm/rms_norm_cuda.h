// residual += x, y = residual / rms(residual) * gain; one block per row.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda_step/product_view.h"

namespace retrosim::kernels::cuda {

/// Row (b, s) of the output is row s of sequence b. It comes from row (b, s) of the input, except where the windows
/// differ: with window_in > window_out = 1 only the current rows go on; with window_in = 1 < window_out older rows come
/// from `hidden_cache`, in which the current row is stored (method.md, "One decoding step": the small cache at l0).
struct AddRmsNormArgs {
  std::int64_t batch = 0;
  int window_in = 1;
  int window_out = 1;
  std::int64_t hidden_size = 0;  // a multiple of 8, at most 16384
  float eps = 1e-5F;
  DType dtype = DType::bf16;  // of everything but x: bf16 or f32
  // [batch * window_in, hidden_size], added to the residual; null data: nothing is added
  ProductView x;
  // [batch * window_in, hidden_size]
  const void* residual_in = nullptr;
  // [batch * window_out, hidden_size]; may be residual_in when the windows are equal, null when not needed
  void* residual_out = nullptr;
  // [hidden_size]
  const void* gain = nullptr;
  // [batch * window_out, hidden_size]
  void* y = nullptr;
  // [window_out, batch, hidden_size], the row of position p in slot p mod window_out; null: no cache
  void* hidden_cache = nullptr;
  // [batch] tokens, the current one included; used with hidden_cache only
  const std::int32_t* context_lens = nullptr;
};

/// Throws InputError for a hidden size that it cannot do, CudaError when the launch fails.
void add_rms_norm(const AddRmsNormArgs& args, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
