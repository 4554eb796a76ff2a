// Random values on the device, the same for the same seed on every GPU.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "model/dtype.h"

namespace retrosim::kernels::cuda {

/// Fills `count` elements (f32, bf16 or fp8_e4m3) with values uniform in [-amplitude, amplitude). Throws InputError for
/// another dtype.
void fill_random(void* data, DType dtype, std::int64_t count, float amplitude, std::uint64_t seed, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
