// Launching a kernel so that its start overlaps the end of the kernel before it on the stream.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/check.h"

namespace retrosim::kernels::cuda {

/// Launches `kernel` with programmatic stream serialisation on compute capability 9.0 and later: its blocks may start
/// while the kernel before it still runs, and must call wait_for_previous_kernel() before touching memory that it may
/// write. Every kernel waits before it lets the next one start, so what kernels further back wrote is there already:
/// the attention and selection kernels read the page table, context lengths, row counts and k before they wait.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
            const Arguments&... arguments) {
  static const bool overlaps = device_attribute(cudaDevAttrComputeCapabilityMajor) >= 9;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = overlaps ? 1 : 0;
  RETROSIM_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

#ifdef __CUDACC__
/// Blocks until all memory operations of the kernels before this one on the stream are visible.
__device__ inline void wait_for_previous_kernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel's blocks start as soon as every block of this one has said so or has ended.
__device__ inline void allow_next_kernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
#endif

}  // namespace retrosim::kernels::cuda
