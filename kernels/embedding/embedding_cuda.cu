#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/cuda_step/eight.cuh"
#include "kernels/embedding/embedding_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void __launch_bounds__(kThreads) embedding_kernel(const EmbeddingArgs a) {
  wait_for_previous_kernel();
  // Not earlier: the step's other kernels may read context lengths, row counts and k before they wait, and the last
  // kernel of the step before, which writes them, has ended only now.
  allow_next_kernel();
  const auto* row = static_cast<const T*>(a.table) +
                    static_cast<std::int64_t>(__ldcg(a.tokens + blockIdx.x * a.token_stride)) * a.hidden_size;
  for (std::int64_t column = threadIdx.x * 8; column < a.hidden_size; column += kThreads * 8) {
    store_eight(static_cast<T*>(a.out) + blockIdx.x * a.hidden_size + column, load_eight(row + column));
  }
}

}  // namespace

void gather_embeddings(const EmbeddingArgs& a, cudaStream_t stream) {
  if (a.hidden_size < 8 || a.hidden_size % 8 != 0) {
    throw InputError("", "hidden_size", std::to_string(a.hidden_size), "a positive multiple of 8");
  }
  const auto blocks = static_cast<unsigned>(a.rows);
  if (a.dtype == DType::f32) {
    cuda::launch(embedding_kernel<float>, blocks, kThreads, 0, stream, a);
  } else {
    cuda::launch(embedding_kernel<__nv_bfloat16>, blocks, kThreads, 0, stream, a);
  }
}

}  // namespace retrosim::kernels::cuda
