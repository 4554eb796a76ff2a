// One case of the designed grid on the GPU: whole steps, parts of them, and chains of each operation.
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "calibrate/calibration_design.h"
#include "calibrate/calibration_samples.h"

namespace retrosim::gpu {

/// Everything runs as CUDA graphs of the step executor, with weights and caches of its own per layer: a step; its
/// segments (attention input, selection, attention, output and MLP); and per operation a chain of its launches over all
/// layers, again and again, so that the next launch starts early as in a step and finds in L2 what a step would leave
/// there. Older queries' unseen pages are set before the chain of attention, as `seen_share` says, and counted after
/// the whole steps. A sample is the time of one replay, its launch included. Throws InputError for a shape that there
/// is no kernel for.
std::vector<GraphSample> measure_case(const CalibrationCase& one, cudaStream_t stream);

}  // namespace retrosim::gpu
