// Page summaries of a prefilled cache on the GPU; the semantics are those of kernels/page_summary/page_summary.h.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/cuda/paged_kv_device.h"

namespace retrosim::kernels::cuda {

/// Element-wise minimum and maximum of every page's keys in the context, in one kernel. Summaries hold
/// activation_dtype(cache.dtype), in units of real keys (an fp8 cache's scale is applied).
void build_page_summaries(const DeviceKvCache& cache, const DevicePageTable& table,
                          // [num_pages, num_kv_heads, 2 (min, max), head_dim]
                          void* summaries, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
