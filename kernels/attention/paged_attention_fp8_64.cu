#include "kernels/attention/paged_attention_kernels.h"

namespace retrosim::kernels::cuda {

template <>
AttentionKernel attention_kernel<__nv_fp8_e4m3, 64>(KvLoader loader) {
  return detail::choose<__nv_fp8_e4m3, 64>(loader);
}

}  // namespace retrosim::kernels::cuda
