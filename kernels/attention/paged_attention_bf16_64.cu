#include "kernels/attention/paged_attention_kernels.h"

namespace retrosim::kernels::cuda {

template <>
AttentionKernel attention_kernel<__nv_bfloat16, 64>(KvLoader loader) {
  return detail::choose<__nv_bfloat16, 64>(loader);
}

}  // namespace retrosim::kernels::cuda
