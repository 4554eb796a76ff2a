// What the executor keeps between operations: buffers, the captured graph, and what the last operations left.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention_merge/attention_merge_cuda.h"
#include "kernels/cuda_step/host_pages.h"
#include "kernels/cuda_step/step_executor.h"
#include "kernels/top_k/top_k_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {

using Bytes = DeviceBuffer<unsigned char>;

/// Throws InputError for what the GPU executor does not run.
[[noreturn]] inline void refuse_on_gpu(std::string_view field, std::string_view value, std::string_view expectation) {
  throw InputError("", field, value, std::string(expectation) + " (the GPU executor runs nothing else)");
}

struct StepExecutor::Impl {
  Impl(const DecodeConfig& decode_config, const StepGraph& step_graph, DecodeWeights& all_weights,
       DecodeState& all_state, StepTuning step_tuning);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void allocate();
  void plan_segments();
  /// Enqueues the operations [first, last) on their streams, which fork from `stream` and join it again.
  void enqueue_range(StepGraph::Vertex first, StepGraph::Vertex last, cudaStream_t stream, StepKind kind);
  /// Does the operations of a segment that the host takes part in.
  void run_on_host(StepGraph::Vertex first, StepGraph::Vertex last, cudaStream_t stream);
  void capture(StepKind kind);
  bool is_captured() const;
  void enqueue(const Op& op, cudaStream_t stream);
  void add(const Op& op, const EmbeddingShape& shape, cudaStream_t stream);
  void add(const Op& op, const RmsNormShape& shape, cudaStream_t stream);
  void add(const Op& op, const MatmulShape& shape, cudaStream_t stream);
  void add(const Op& op, const RopeAppendShape& shape, cudaStream_t stream);
  void add(const Op& op, const PageScoreShape& shape, cudaStream_t stream);
  void add(const Op& op, const TopKShape& shape, cudaStream_t stream);
  void add(const Op& op, const AttentionShape& shape, cudaStream_t stream);
  void add(const Op& op, const AttentionMergeShape& shape, cudaStream_t stream);
  void add(const Op& op, const SiluMulShape& shape, cudaStream_t stream);
  void add(const Op& op, const SampleShape& shape, cudaStream_t stream);
  void add(const Op& op, const HostToDeviceShape& shape, cudaStream_t stream);
  void add(const Op& op, const DeviceToHostShape& shape, cudaStream_t stream);
  void add(const Op& op, const HostComputeShape& shape, cudaStream_t stream);
  void add(const Op& op, const CachePassShape& shape, cudaStream_t stream);
  template <class Shape>
  void add(const Op& op, const Shape&, cudaStream_t) {
    refuse_on_gpu("operation", op.name, "operations of a dense model on one GPU");
  }

  AttentionMergeArgs merge_args(const Op& op, const AttentionMergeShape& shape);
  const DeviceLinear& linear(const Op& op) const;

  DecodeLayerWeights& layer_weights(const Op& op) const {
    return weights.layers.at(static_cast<std::size_t>(op.layer));
  }
  DecodeLayerState& layer_state(const Op& op) const { return state.layers.at(static_cast<std::size_t>(op.layer)); }

  DecodeConfig config;
  StepGraph graph;
  DecodeWeights& weights;
  DecodeState& state;
  StepTuning tuning;
  DType activations;
  int sm_count = 0;
  cudaStream_t own_stream = nullptr;

  /// Consecutive operations that are captured as one CUDA graph, or that the host takes part in.
  struct Segment {
    StepGraph::Vertex first = 0;
    StepGraph::Vertex last = 0;
    bool on_host = false;
    std::array<cudaGraph_t, 2> captured{};  // by StepKind; null: not captured yet
    std::array<cudaGraphExec_t, 2> executable{};
  };
  std::vector<Segment> segments;
  std::array<cudaStream_t, kNumStreams> side_streams{};  // null: the graph does not use it
  std::vector<cudaEvent_t> done;                         // [vertices], null where no other stream waits
  cudaEvent_t forked = nullptr;
  std::array<cudaEvent_t, kNumStreams> joined{};
  bool selects = false;                                // sparse layers attend to a part of the pages
  std::vector<std::unique_ptr<HostPages>> host_pages;  // [layers], of policies that recall pages
  Bytes prefetched;                                    // what "page_prefetch" copies to
  std::unique_ptr<PinnedBytes> prefetch_source;

  std::vector<PagedAttention> attention;  // [layers]
  std::array<Bytes, 2> residuals;         // [rows, hidden]
  Bytes normed;                           // [rows, hidden]
  Bytes q;                                // [rows, q heads, head_dim]
  Bytes attended;                         // [rows, q heads, head_dim]
  Bytes gated;                            // [rows, intermediate]
  Bytes qkv_out, hidden_out, gate_up_out, logits_out;
  DeviceBuffer<float> partial_values;
  DeviceBuffer<float> partial_lse;
  DeviceBuffer<float> exchange_values;  // between the blocks of attention that merges
  DeviceBuffer<float> exchange_lse;
  DeviceBuffer<float> scores;                        // [batch, kv heads, max_pages]
  DeviceBuffer<double> frequencies;                  // [head_dim / 2]
  std::vector<DeviceBuffer<std::int32_t>> selected;  // per layer [batch, kv heads, k_max]
  std::vector<DeviceBuffer<std::int32_t>> counts;    // per layer [batch, kv heads]
  // Selections to follow, if any:
  DeviceSchedule schedule;                                   // pages and counts are the layer's own
  std::vector<DeviceBuffer<std::int32_t>> scheduled_pages;   // per layer [steps, batch, kv heads, schedule.k_max]
  std::vector<DeviceBuffer<std::int32_t>> scheduled_counts;  // per layer [steps, batch, kv heads]

  // What the operations enqueued so far have left; the same after every step.
  int residual = 0;
  int window = 1;
  bool has_selection = false;
  bool queries_are_settled = false;  // a kernel lies between rope_append and what comes next
  bool stamps = true;                // attention and merge stamp last_loaded
  ProductView product;               // of the last o_proj, down_proj
  ProductView qkv;
  ProductView gate_up;
  ProductView logits;
};

}  // namespace retrosim::kernels::cuda
