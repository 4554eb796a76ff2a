#include "kernels/attention/paged_attention_kernels.h"

namespace retrosim::kernels::cuda {

template <>
AttentionKernel attention_kernel<__nv_fp8_e4m3, 256>(int row_tiles, KvLoader loader) {
  return detail::choose<__nv_fp8_e4m3, 256>(row_tiles, loader);
}

}  // namespace retrosim::kernels::cuda
