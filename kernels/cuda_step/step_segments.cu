// How a step's operations reach the GPU: on which streams, in which CUDA graphs, and where the host takes its turn.
#include <boost/graph/graph_traits.hpp>
#include <boost/range/iterator_range.hpp>
#include <stdexcept>

#include "kernels/cuda_step/step_executor_impl.h"

namespace retrosim::kernels::cuda {
namespace {

bool is_selection(const Op& op) { return op.kind() == OpKind::page_score || op.kind() == OpKind::top_k; }

/// The host waits for a selection, and starts the copies of the pages that it decides to recall.
bool needs_host(const Op& op) {
  return op.stream == Stream::host || (op.kind() == OpKind::host_to_device && op.layer >= 0);
}

}  // namespace

StepExecutor::Impl::~Impl() {
  for (Segment& segment : segments) {
    for (const cudaGraphExec_t executable : segment.executable) {
      if (executable != nullptr) cudaGraphExecDestroy(executable);
    }
    for (const cudaGraph_t captured : segment.captured) {
      if (captured != nullptr) cudaGraphDestroy(captured);
    }
  }
  for (const cudaEvent_t event : done) {
    if (event != nullptr) cudaEventDestroy(event);
  }
  for (const cudaEvent_t event : joined) {
    if (event != nullptr) cudaEventDestroy(event);
  }
  if (forked != nullptr) cudaEventDestroy(forked);
  for (const cudaStream_t stream : side_streams) {
    if (stream != nullptr) cudaStreamDestroy(stream);
  }
  cudaStreamDestroy(own_stream);
}

void StepExecutor::Impl::plan_segments() {
  const auto new_event = [] {
    cudaEvent_t event = nullptr;
    RETROSIM_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    return event;
  };
  done.assign(graph.size(), nullptr);
  forked = new_event();
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
    const Op& op = graph.op(v);
    const bool on_host = needs_host(op);
    if (segments.empty() || segments.back().on_host != on_host) segments.push_back({.first = v, .on_host = on_host});
    segments.back().last = v + 1;
    const auto stream = static_cast<std::size_t>(op.stream);
    if (op.stream != Stream::compute && !on_host && side_streams[stream] == nullptr) {
      RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&side_streams[stream], cudaStreamNonBlocking));
      joined[stream] = new_event();
    }
    for (const auto& edge : boost::make_iterator_range(boost::in_edges(v, graph.boost()))) {
      const StepGraph::Vertex before = boost::source(edge, graph.boost());
      if (graph.op(before).stream != op.stream && done[before] == nullptr) done[before] = new_event();
    }
  }
}

void StepExecutor::Impl::enqueue_range(StepGraph::Vertex first, StepGraph::Vertex last, cudaStream_t stream,
                                       StepKind kind) {
  std::array<bool, kNumStreams> used{};
  for (StepGraph::Vertex v = first; v < last; ++v) used[static_cast<std::size_t>(graph.op(v).stream)] = true;
  used[static_cast<std::size_t>(Stream::compute)] = false;
  bool forks = false;
  for (std::size_t s = 0; s < used.size(); ++s) {
    if (!used[s]) continue;
    if (!forks) RETROSIM_CUDA_CHECK(cudaEventRecord(forked, stream));
    forks = true;
    RETROSIM_CUDA_CHECK(cudaStreamWaitEvent(side_streams[s], forked));
  }
  for (StepGraph::Vertex v = first; v < last; ++v) {
    const Op& op = graph.op(v);
    if (kind == StepKind::keeps_selection && is_selection(op)) continue;
    const cudaStream_t own = op.stream == Stream::compute ? stream : side_streams[static_cast<std::size_t>(op.stream)];
    if (forks) {
      for (const auto& edge : boost::make_iterator_range(boost::in_edges(v, graph.boost()))) {
        const StepGraph::Vertex before = boost::source(edge, graph.boost());
        if (before < first || graph.op(before).stream == op.stream) continue;
        RETROSIM_CUDA_CHECK(cudaStreamWaitEvent(own, done[before]));
      }
    }
    enqueue(op, own);
    if (forks && done[v] != nullptr) RETROSIM_CUDA_CHECK(cudaEventRecord(done[v], own));
  }
  for (std::size_t s = 0; s < used.size(); ++s) {
    if (!used[s]) continue;
    RETROSIM_CUDA_CHECK(cudaEventRecord(joined[s], side_streams[s]));
    RETROSIM_CUDA_CHECK(cudaStreamWaitEvent(stream, joined[s]));
  }
}

void StepExecutor::Impl::run_on_host(StepGraph::Vertex first, StepGraph::Vertex last, cudaStream_t stream) {
  for (StepGraph::Vertex v = first; v < last; ++v) {
    const Op& op = graph.op(v);
    if (op.stream == Stream::host) RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
    enqueue(op, stream);
  }
}

void StepExecutor::Impl::capture(StepKind kind) {
  const auto which = static_cast<std::size_t>(kind);
  for (Segment& segment : segments) {
    if (segment.on_host || segment.executable[which] != nullptr) continue;
    RETROSIM_CUDA_CHECK(cudaStreamBeginCapture(own_stream, cudaStreamCaptureModeThreadLocal));
    enqueue_range(segment.first, segment.last, own_stream, kind);
    RETROSIM_CUDA_CHECK(cudaStreamEndCapture(own_stream, &segment.captured[which]));
    RETROSIM_CUDA_CHECK(cudaGraphInstantiate(&segment.executable[which], segment.captured[which], 0));
  }
}

bool StepExecutor::Impl::is_captured() const {
  for (const Segment& segment : segments) {
    for (const cudaGraphExec_t executable : segment.executable) {
      if (executable != nullptr) return true;
    }
  }
  return false;
}

void StepExecutor::enqueue(cudaStream_t stream, StepKind kind) {
  for (const Impl::Segment& segment : impl_->segments) {
    if (segment.on_host) {
      impl_->run_on_host(segment.first, segment.last, stream);
    } else {
      impl_->enqueue_range(segment.first, segment.last, stream, kind);
    }
  }
}

void StepExecutor::enqueue_each(cudaStream_t stream, const std::function<void(const Op&)>& after) {
  for (StepGraph::Vertex v = 0; v < impl_->graph.size(); ++v) {
    impl_->enqueue(impl_->graph.op(v), stream);
    after(impl_->graph.op(v));
  }
}

const void* StepExecutor::queries() const { return impl_->q.data(); }

const float* StepExecutor::latest_page_scores() const { return impl_->scores.data(); }

void StepExecutor::capture(StepKind kind) { impl_->capture(kind); }

void StepExecutor::replay(cudaStream_t stream, StepKind kind) {
  impl_->capture(kind);
  for (const Impl::Segment& segment : impl_->segments) {
    if (segment.on_host) {
      impl_->run_on_host(segment.first, segment.last, stream);
    } else {
      RETROSIM_CUDA_CHECK(cudaGraphLaunch(segment.executable[static_cast<std::size_t>(kind)], stream));
    }
  }
}

std::size_t StepExecutor::num_kernels() const {
  std::size_t kernels = 0;
  for (const Impl::Segment& segment : impl_->segments) {
    if (segment.on_host) continue;
    const cudaGraph_t captured = segment.captured[0];
    if (captured == nullptr) throw std::logic_error("StepExecutor: nothing is captured");
    std::size_t count = 0;
    RETROSIM_CUDA_CHECK(cudaGraphGetNodes(captured, nullptr, &count));
    std::vector<cudaGraphNode_t> nodes(count);
    RETROSIM_CUDA_CHECK(cudaGraphGetNodes(captured, nodes.data(), &count));
    for (const cudaGraphNode_t node : nodes) {
      cudaGraphNodeType type{};
      RETROSIM_CUDA_CHECK(cudaGraphNodeGetType(node, &type));
      kernels += type == cudaGraphNodeTypeKernel ? 1U : 0U;
    }
  }
  return kernels;
}

}  // namespace retrosim::kernels::cuda
