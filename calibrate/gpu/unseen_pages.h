// Which of the pages that attention loads its older queries have not seen: counted, and set.
#pragma once

#include <cstdint>

#include "kernels/cuda_step/decode_state.h"
#include "kernels/cuda_step/step_executor.h"

namespace retrosim::gpu {

/// Summed over sequences and KV heads.
struct UnseenPages {
  std::int64_t visits = 0;  // sum over the older queries s of |U_s|
  std::int64_t union_ = 0;  // |U_1|
};

/// Gives every page that `layer` has selected an age: 1 with probability `seen_share`, else geometric beyond. Pages not
/// selected were never loaded.
UnseenPages set_ages(kernels::cuda::DecodeState& state, const kernels::cuda::StepExecutor& executor, int layer,
                     int page_size, double seen_share);

/// Replays one step and counts what its attention in `layer` found unseen.
UnseenPages count_in_step(kernels::cuda::DecodeState& state, kernels::cuda::StepExecutor& executor, int layer,
                          int page_size, cudaStream_t stream);

}  // namespace retrosim::gpu
