// Prefill attention at a grid of prompt lengths; the decode step has none.
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "calibrate/calibration_samples.h"

namespace retrosim::gpu {

/// Part "chain", one operation each.
std::vector<GraphSample> measure_prefill_attention(cudaStream_t stream);

}  // namespace retrosim::gpu
