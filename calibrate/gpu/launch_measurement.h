// What does not depend on a kernel's work: launches, graph nodes, links to the host, copies beside compute.
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "calibrate/calibration_samples.h"

namespace retrosim::gpu {

/// Keeps the GPU busy for so long that its clocks have risen.
void warm_up(double seconds, cudaStream_t stream);

/// Parts "graph_nodes" (figures nodes, early_start, replays: empty kernels, `replays` graphs back to back) and
/// "kernel_launches" (figure launches).
std::vector<GraphSample> measure_launches(cudaStream_t stream);

/// Parts "h2d" and "d2h" (figure bytes, pinned memory), "d2d" (figure bytes, read and written once each),
/// "h2d_batch" (figures copies and bytes of all: copies handed over together) and "copy_beside_read": a copy from the
/// host while a kernel streams HBM, with figures copy_alone_us, read_alone_us, copy_beside_us, read_beside_us and bytes
/// of both.
std::vector<GraphSample> measure_links(cudaStream_t stream);

}  // namespace retrosim::gpu
