// Parts of a step as CUDA graphs, for measuring what an operation takes among its like.
#include <utility>

#include "kernels/cuda_step/step_executor.h"
#include "kernels/cuda_step/step_executor_impl.h"

namespace retrosim::kernels::cuda {

CapturedOps::CapturedOps(cudaGraph_t graph, std::size_t num_ops) : num_ops_(num_ops) {
  const cudaError_t code = cudaGraphInstantiate(&executable_, graph, 0);
  cudaGraphDestroy(graph);
  RETROSIM_CUDA_CHECK(code);
}

CapturedOps::CapturedOps(CapturedOps&& other) noexcept
    : executable_(std::exchange(other.executable_, nullptr)), num_ops_(other.num_ops_) {}

CapturedOps::~CapturedOps() {
  if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
}

void CapturedOps::replay(cudaStream_t stream) const { RETROSIM_CUDA_CHECK(cudaGraphLaunch(executable_, stream)); }

// An operation also tells the executor what the ones after it find where (StepExecutor::Impl), so all of them are
// enqueued; those left out go to a second capture, which is thrown away.
CapturedOps StepExecutor::capture_ops(const std::function<bool(StepGraph::Vertex)>& keeps, int passes, bool stamps) {
  impl_->stamps = stamps;
  cudaStream_t aside = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&aside, cudaStreamNonBlocking));
  RETROSIM_CUDA_CHECK(cudaStreamBeginCapture(impl_->own_stream, cudaStreamCaptureModeThreadLocal));
  RETROSIM_CUDA_CHECK(cudaStreamBeginCapture(aside, cudaStreamCaptureModeThreadLocal));
  std::size_t count = 0;
  for (int pass = 0; pass < passes; ++pass) {
    for (StepGraph::Vertex v = 0; v < impl_->graph.size(); ++v) {
      const bool kept = keeps(v);
      impl_->enqueue(impl_->graph.op(v), kept ? impl_->own_stream : aside);
      count += kept ? 1U : 0U;
    }
  }
  impl_->stamps = true;
  cudaGraph_t graph = nullptr;
  cudaGraph_t left_out = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamEndCapture(aside, &left_out));
  RETROSIM_CUDA_CHECK(cudaStreamEndCapture(impl_->own_stream, &graph));
  RETROSIM_CUDA_CHECK(cudaGraphDestroy(left_out));
  RETROSIM_CUDA_CHECK(cudaStreamDestroy(aside));
  return CapturedOps(graph, count);
}

}  // namespace retrosim::kernels::cuda
