// The reader of the step graph that runs it on a GPU: one kernel per operation, in the graph's order.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/cuda_step/decode_state.h"
#include "kernels/cuda_step/decode_weights.h"
#include "kernels/top_k/selection_schedule.h"
#include "model/step_graph.h"

namespace retrosim::kernels::cuda {

/// Bytes that are asked into L2 ahead of need; none changes a result.
struct StepTuning {
  // Of o_proj's weights, by rope_append, while page selection leaves memory idle.
  std::int64_t selection_prefetch_bytes = 0;
  // Of a product's own weights, per block, while it waits for its input.
  std::int64_t own_prefetch_bytes_per_block = 0;
  // Of the next product's weights, per block, where only a small kernel lies between them.
  std::int64_t next_prefetch_bytes_per_block = 0;
};

/// Time that one operation took on its own, between two events, its predecessor finished.
struct OpTime {
  StepGraph::Vertex vertex = 0;
  double microseconds = 0;
};

/// Operations of a step captured as a CUDA graph of their own.
class CapturedOps {
 public:
  CapturedOps(cudaGraph_t graph, std::size_t num_ops);
  CapturedOps(CapturedOps&& other) noexcept;
  CapturedOps& operator=(CapturedOps&&) = delete;
  ~CapturedOps();

  void replay(cudaStream_t stream) const;
  std::size_t num_ops() const { return num_ops_; }

 private:
  cudaGraphExec_t executable_ = nullptr;
  std::size_t num_ops_ = 0;
};

/// Runs the decode step that `graph` describes for `config`. Positions, selected pages and unseen sets live on the
/// device, so that one captured step can be replayed as the sequences grow; nothing is synchronised within a step.
class StepExecutor {
 public:
  /// `weights` and `state` must outlive the executor. Throws InputError for an operation or a switch that does not run
  /// on the GPU: experts, tensor parallelism, host transfers, policies that select other than by page scores.
  StepExecutor(const DecodeConfig& config, const StepGraph& graph, DecodeWeights& weights, DecodeState& state,
               StepTuning tuning = {});
  ~StepExecutor();
  StepExecutor(const StepExecutor&) = delete;
  StepExecutor& operator=(const StepExecutor&) = delete;

  /// From now on sparse layers attend to the pages of `schedule` instead of those that they find best, which they still
  /// look for: the same kernels do the same work. A step at a context outside the schedule fails on the device. Throws
  /// InputError for a schedule of another shape, or pages that do not ascend to the one being filled; std::logic_error
  /// when a step is already captured.
  void follow(const SelectionSchedule& schedule);

  /// Enqueues one step, kernel by kernel. Afterwards every sequence is one token longer.
  void enqueue(cudaStream_t stream);

  /// Captures one step as a CUDA graph; replay() enqueues it.
  void capture();
  void replay(cudaStream_t stream);
  /// Kernels of the captured step.
  std::size_t num_kernels() const;

  /// Captures `passes` passes over the step, of which only the operations that `keeps` names are in the graph: they run
  /// one after the other as in a step, on buffers that earlier whole steps have filled. Those in neither a layer nor a
  /// loop may be repeated by more passes. Replaying leaves what the operations left out would have written as it was.
  CapturedOps capture_ops(const std::function<bool(StepGraph::Vertex)>& keeps, int passes);

  /// Runs one step with an event around every operation.
  std::vector<OpTime> time_ops(cudaStream_t stream);

  /// Logits of the last step, in float32. [batch, vocab]
  std::vector<float> logits(cudaStream_t stream) const;
  /// Logical pages that `layer` selected in the last step, ascending, by sequence and KV head: [batch][kv heads][count]
  std::vector<std::vector<std::vector<std::int32_t>>> selected(int layer) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace retrosim::kernels::cuda
