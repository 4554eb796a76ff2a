// The reader of the step graph that runs it on a GPU: one kernel per operation, in the graph's order.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
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

/// A policy that reuses its selections makes them in some steps and keeps them in the others.
enum class StepKind : std::uint8_t { selects, keeps_selection };

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
  /// on the GPU: experts, tensor parallelism, and policies other than full, quest, streaming, reuse and arkvale.
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

  /// Of a policy that recalls pages: copies the cache of its layers to host memory, where the next steps recall pages
  /// from. Call it when the prompt is in the cache.
  void move_pages_to_host();

  /// Enqueues one step, kernel by kernel. Afterwards every sequence is one token longer.
  void enqueue(cudaStream_t stream, StepKind kind = StepKind::selects);

  /// The same for a step on one stream; `after` is called when an operation is enqueued.
  void enqueue_each(cudaStream_t stream, const std::function<void(const Op&)>& after);
  /// What the latest "rope_append" leaves: [batch * window, q heads, head_dim] queries after RoPE.
  const void* queries() const;
  /// What the latest "page_score" leaves: [batch, kv heads, max_pages].
  const float* latest_page_scores() const;

  /// Captures one step as a CUDA graph; replay() enqueues it. A step in which the host takes part (recalled pages) is
  /// a graph before, between and after each of its turns, and replay() returns when the last graph is enqueued.
  void capture(StepKind kind = StepKind::selects);
  void replay(cudaStream_t stream, StepKind kind = StepKind::selects);
  /// Kernels of the captured step.
  std::size_t num_kernels() const;

  /// Captures `passes` passes over the step, of which only the operations that `keeps` names are in the graph: they run
  /// one after the other as in a step, on buffers that earlier whole steps have filled. Those in neither a layer nor a
  /// loop may be repeated by more passes. Replaying leaves what the operations left out would have written as it was.
  /// Without `stamps`, last_loaded is left as it is: every replay of attention finds the same unseen pages.
  CapturedOps capture_ops(const std::function<bool(StepGraph::Vertex)>& keeps, int passes, bool stamps = true);

  /// Runs one step with an event around every operation.
  std::vector<OpTime> time_ops(cudaStream_t stream);

  /// Logits of the last step, in float32. [batch, vocab]
  std::vector<float> logits(cudaStream_t stream) const;
  /// Logical pages that `layer` selected in the last step, ascending, by sequence and KV head: [batch][kv heads][count]
  std::vector<std::vector<std::vector<std::int32_t>>> selected(int layer) const;
  /// What a layer of a policy without selection operations attends to from now on: the same list, ascending, for every
  /// sequence and KV head.
  void select(int layer, std::span<const std::int32_t> pages);
  /// Pages, of all KV heads, that `layer` took from host memory in the last step.
  std::int64_t pages_recalled(int layer) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace retrosim::kernels::cuda
