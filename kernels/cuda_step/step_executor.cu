#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention_merge/attention_merge_cuda.h"
#include "kernels/cuda_step/step_executor.h"
#include "kernels/embedding/embedding_cuda.h"
#include "kernels/page_score/page_score_cuda.h"
#include "kernels/rms_norm/rms_norm_cuda.h"
#include "kernels/rope_append/rope.h"
#include "kernels/rope_append/rope_append_cuda.h"
#include "kernels/silu_mul/silu_mul_cuda.h"
#include "kernels/top_k/top_k_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

using Bytes = DeviceBuffer<unsigned char>;

Bytes byte_buffer(std::int64_t bytes) { return Bytes(static_cast<std::size_t>(bytes)); }

[[noreturn]] void refuse(std::string_view field, std::string_view value, std::string_view expectation) {
  throw InputError("", field, value, std::string(expectation) + " (the GPU executor runs nothing else)");
}

}  // namespace

struct StepExecutor::Impl {
  Impl(const DecodeConfig& decode_config, const StepGraph& step_graph, DecodeWeights& all_weights,
       DecodeState& all_state, StepTuning step_tuning)
      : config(decode_config),
        graph(step_graph),
        weights(all_weights),
        state(all_state),
        tuning(step_tuning),
        activations(activation_dtype(decode_config.kv_dtype)) {
    if (config.tensor_parallel_size != 1)
      refuse("tensor_parallel_size", std::to_string(config.tensor_parallel_size), "1");
    if (config.carry_older_rows_through_dense_layers) refuse("carry_older_rows_through_dense_layers", "true", "false");
    if (config.policy->name() != "quest" && config.policy->name() != "full") {
      refuse("policy", config.policy->name(), "quest or full");
    }
    if (weights.dtype != activations) refuse("weight_dtype", name_of(weights.dtype), name_of(activations));
    if (state.window != config.window || state.batch != config.batch) throw std::logic_error("state of another batch");
    RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&own_stream, cudaStreamNonBlocking));
    sm_count = device_attribute(cudaDevAttrMultiProcessorCount);
    allocate();
  }
  ~Impl() {
    if (executable != nullptr) cudaGraphExecDestroy(executable);
    if (captured != nullptr) cudaGraphDestroy(captured);
    cudaStreamDestroy(own_stream);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void allocate();
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
  template <class Shape>
  void add(const Op& op, const Shape&, cudaStream_t) {
    refuse("operation", op.name, "operations of a dense model on one GPU");
  }

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
  cudaGraph_t captured = nullptr;
  cudaGraphExec_t executable = nullptr;

  LtMatmul lt;
  std::vector<PagedAttention> attention;  // [layers]
  std::array<Bytes, 2> residuals;         // [rows, hidden]
  Bytes normed;                           // [rows, hidden]
  Bytes q;                                // [rows, q heads, head_dim]
  Bytes attended;                         // [rows, q heads, head_dim]
  Bytes gated;                            // [rows, intermediate]
  Bytes qkv_out, hidden_out, gate_up_out, logits_out;
  DeviceBuffer<float> partial_values;
  DeviceBuffer<float> partial_lse;
  DeviceBuffer<float> scores;                        // [batch, kv heads, max_pages]
  DeviceBuffer<double> frequencies;                  // [head_dim / 2]
  std::vector<DeviceBuffer<std::int32_t>> selected;  // per layer [batch, kv heads, k_max]
  std::vector<DeviceBuffer<std::int32_t>> counts;    // per layer [batch, kv heads]

  // What the operations enqueued so far have left; the same after every step.
  int residual = 0;
  int window = 1;
  bool has_selection = false;
  ProductView product;  // of the last o_proj, down_proj
  ProductView qkv;
  ProductView gate_up;
  ProductView logits;
};

void StepExecutor::Impl::allocate() {
  const LlmSpec& llm = config.llm;
  const std::int64_t rows = config.batch * config.window;
  const auto activation_bytes = [this](std::int64_t elements) { return bytes_of(activations, elements); };
  for (Bytes& buffer : residuals) buffer = byte_buffer(activation_bytes(rows * llm.hidden_size));
  const std::int64_t q_size = static_cast<std::int64_t>(llm.num_q_heads) * llm.head_dim;
  normed = byte_buffer(activation_bytes(rows * llm.hidden_size));
  q = byte_buffer(activation_bytes(rows * q_size));
  attended = byte_buffer(activation_bytes(rows * q_size));
  gated = byte_buffer(activation_bytes(rows * llm.intermediate_size));
  std::int64_t qkv_bytes = 0;
  std::int64_t hidden_bytes = 0;
  std::int64_t gate_up_bytes = 0;
  for (const DecodeLayerWeights& layer : weights.layers) {
    qkv_bytes = std::max(qkv_bytes, layer.qkv.output_bytes(rows));
    hidden_bytes = std::max({hidden_bytes, layer.o.output_bytes(rows), layer.down.output_bytes(rows)});
    gate_up_bytes = std::max(gate_up_bytes, layer.gate_up.output_bytes(rows));
  }
  qkv_out = byte_buffer(qkv_bytes);
  hidden_out = byte_buffer(hidden_bytes);
  gate_up_out = byte_buffer(gate_up_bytes);
  logits_out = byte_buffer(weights.lm_head.output_bytes(config.batch));
  frequencies = DeviceBuffer<double>(rope_frequencies(llm));
  const std::int64_t lists = config.batch * llm.num_kv_heads;
  scores = DeviceBuffer<float>(static_cast<std::size_t>(lists * state.max_pages));
  for (int layer = 0; layer < llm.num_layers; ++layer) {
    attention.emplace_back(state.kv_cache(layer));
    const bool sparse = config.is_sparse(layer);
    selected.emplace_back(static_cast<std::size_t>(sparse ? lists * state.k_max : 0));
    counts.emplace_back(static_cast<std::size_t>(sparse ? lists : 0));
  }
  std::int64_t partial_rows = 0;
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
    const Op& op = graph.op(v);
    if (const auto* shape = std::get_if<AttentionShape>(&op.shape)) {
      partial_rows = std::max(partial_rows, config.batch * shape->window * llm.num_q_heads * shape->num_splits);
    }
    if (const auto* shape = std::get_if<MatmulShape>(&op.shape)) {
      const DeviceLinear& product_weights = linear(op);
      if (product_weights.n() != shape->n || product_weights.k() != shape->k)
        throw std::logic_error("weights of another model");
      if (product_weights.path() == MatmulPath::lt) lt.choose(shape->m, shape->n, shape->k, shape->bias);
    }
  }
  partial_values = DeviceBuffer<float>(static_cast<std::size_t>(partial_rows * llm.head_dim));
  partial_lse = DeviceBuffer<float>(static_cast<std::size_t>(partial_rows));
}

const DeviceLinear& StepExecutor::Impl::linear(const Op& op) const {
  const std::string_view name = op.name;
  if (name == "lm_head") return weights.lm_head;
  if (name == "qkv_proj") return layer_weights(op).qkv;
  if (name == "o_proj") return layer_weights(op).o;
  if (name == "gate_up_proj") return layer_weights(op).gate_up;
  if (name == "down_proj") return layer_weights(op).down;
  refuse("operation", name, "the products of a dense decoder");
}

void StepExecutor::Impl::enqueue(const Op& op, cudaStream_t stream) {
  std::visit([&](const auto& shape) { add(op, shape, stream); }, op.shape);
}

void StepExecutor::Impl::add(const Op&, const EmbeddingShape& shape, cudaStream_t stream) {
  residual = 0;
  product = {};
  window = static_cast<int>(shape.rows / config.batch);
  gather_embeddings({.rows = shape.rows,
                     .hidden_size = shape.hidden_size,
                     .dtype = activations,
                     .tokens = state.tokens.data(),
                     .token_stride = window == 1 ? config.window : 1,
                     .table = weights.embedding.data(),
                     .out = residuals[0].data()},
                    stream);
}

void StepExecutor::Impl::add(const Op& op, const RmsNormShape& shape, cudaStream_t stream) {
  const bool is_input = std::string_view(op.name) == "input_norm";
  const bool is_final = std::string_view(op.name) == "final_norm";
  const int window_out = static_cast<int>(shape.rows / config.batch);
  AddRmsNormArgs args{.batch = config.batch,
                      .window_in = window,
                      .window_out = window_out,
                      .hidden_size = shape.hidden_size,
                      .eps = static_cast<float>(config.llm.rms_norm_eps),
                      .dtype = activations,
                      .residual_in = residuals[static_cast<std::size_t>(residual)].data(),
                      .y = normed.data()};
  if (shape.adds_residual) args.x = product;
  args.gain = is_final   ? weights.final_gain.data()
              : is_input ? layer_weights(op).input_gain.data()
                         : layer_weights(op).mlp_gain.data();
  if (shape.rows_from_cache > 0) {
    args.hidden_cache = state.hidden_cache.data();
    args.context_lens = state.context_lens.data();
  }
  if (window_out != window) residual = 1 - residual;  // another block of rows: not in place
  args.residual_out = is_final ? nullptr : residuals[static_cast<std::size_t>(residual)].data();
  add_rms_norm(args, stream);
  window = window_out;
}

void StepExecutor::Impl::add(const Op& op, const MatmulShape& shape, cudaStream_t stream) {
  const std::string_view name = op.name;
  const DeviceLinear& product_weights = linear(op);
  const void* x = name == "o_proj" ? attended.data() : name == "down_proj" ? gated.data() : normed.data();
  Bytes& out = name == "qkv_proj"       ? qkv_out
               : name == "gate_up_proj" ? gate_up_out
               : name == "lm_head"      ? logits_out
                                        : hidden_out;
  DeviceLinear::Prefetch prefetch{.own_bytes = tuning.own_prefetch_bytes_per_block,
                                  .next_bytes = tuning.next_prefetch_bytes_per_block};
  if (name == "o_proj") prefetch.next = &layer_weights(op).gate_up;
  if (name == "gate_up_proj") prefetch.next = &layer_weights(op).down;
  if (name == "down_proj") {
    const auto layer = static_cast<std::size_t>(op.layer) + 1;
    prefetch.next = layer < weights.layers.size() ? &weights.layers[layer].qkv : &weights.lm_head;
  }
  const ProductView view = product_weights.run(x, shape.m, out.data(), &lt, sm_count, prefetch, stream);
  (name == "qkv_proj" ? qkv : name == "gate_up_proj" ? gate_up : name == "lm_head" ? logits : product) = view;
}

void StepExecutor::Impl::add(const Op& op, const RopeAppendShape& shape, cudaStream_t stream) {
  RopeAppendArgs args{.cache = state.kv_cache(op.layer),
                      .table = state.page_table(),
                      .num_q_heads = shape.num_q_heads,
                      .window = window,
                      .num_rows = state.num_rows.data(),
                      .qkv = qkv,
                      .inverse_frequencies = frequencies.data(),
                      .eps = static_cast<float>(config.llm.rms_norm_eps),
                      .overwrites = shape.rows_overwritten > 0,
                      .q = q.data()};
  if (shape.qk_norm) {
    args.q_gain = layer_weights(op).q_gain.data();
    args.k_gain = layer_weights(op).k_gain.data();
  }
  if (layer_state(op).summaries.size() > 0) {
    args.refresh = config.widen_summaries ? host::SummaryRefresh::widen : host::SummaryRefresh::recompute;
    args.summaries = layer_state(op).summaries.data();
  }
  args.prefetch = layer_weights(op).o.weights();
  args.prefetch_bytes = std::min(tuning.selection_prefetch_bytes, layer_weights(op).o.weight_bytes());
  rope_append(args, stream);
  has_selection = false;
}

void StepExecutor::Impl::add(const Op& op, const PageScoreShape& shape, cudaStream_t stream) {
  page_scores({.shape = state.kv_shape,
               .dtype = activations,
               .table = state.page_table(),
               .num_q_heads = shape.num_q_heads,
               .reduction = GroupReduction::max,
               .q = q.data(),
               .q_stride = window * shape.num_q_heads * shape.head_dim,
               .summaries = layer_state(op).summaries.data(),
               .scores = scores.data()},
              stream);
}

void StepExecutor::Impl::add(const Op& op, const TopKShape& shape, cudaStream_t stream) {
  const auto layer = static_cast<std::size_t>(op.layer);
  select_top_k({.table = state.page_table(),
                .page_size = config.page_size,
                .lists_per_sequence = shape.num_kv_heads,
                .k_max = state.k_max,
                .scores = scores.data(),
                .k = state.selected_pages.data(),
                .selected = selected[layer].data(),
                .counts = counts[layer].data()},
               stream);
  has_selection = true;
}

void StepExecutor::Impl::add(const Op& op, const AttentionShape& shape, cudaStream_t stream) {
  const auto layer = static_cast<std::size_t>(op.layer);
  PagedAttentionArgs args{.table = state.page_table(),
                          .num_q_heads = shape.num_q_heads,
                          .window = window,
                          .num_splits = shape.num_splits,
                          .q = q.data(),
                          .num_rows = state.num_rows.data(),
                          .partials = {.values = partial_values.data(), .lse = partial_lse.data()}};
  if (has_selection) {
    args.num_lists = shape.num_kv_heads;
    args.k_max = state.k_max;
    args.selected = selected[layer].data();
    args.counts = counts[layer].data();
    if (shape.tracks_last_loaded) args.last_loaded = layer_state(op).last_loaded.data();
    args.masked = shape.masked;
  } else if (!config.llm.layer_sliding_window.empty()) {
    args.sliding_window = config.llm.layer_sliding_window[layer];
  }
  if (window == 1) args.num_rows = state.one_row.data();
  attention[layer].launch(args, stream);
}

void StepExecutor::Impl::add(const Op& op, const AttentionMergeShape& shape, cudaStream_t stream) {
  const auto layer = static_cast<std::size_t>(op.layer);
  AttentionMergeArgs args{.dtype = activations,
                          .table = state.page_table(),
                          .num_q_heads = shape.num_q_heads,
                          .head_dim = shape.head_dim,
                          .window = window,
                          .num_splits = shape.num_splits,
                          .partials = {.values = partial_values.data(), .lse = partial_lse.data()},
                          .num_rows = window == 1 ? state.one_row.data() : state.num_rows.data(),
                          .out = attended.data()};
  // Without a selection every row has attended to everything: there is nothing to merge with.
  if (window > 1 && has_selection) {
    args.slots = config.window - 1;
    args.cache_values = layer_state(op).cache_values.data();
    args.cache_lse = layer_state(op).cache_lse.data();
    args.last_loaded = layer_state(op).last_loaded.data();
    args.page_size = config.page_size;
    args.num_lists = config.llm.num_kv_heads;
    args.k_max = state.k_max;
    args.selected = selected[layer].data();
    args.counts = counts[layer].data();
  }
  merge_attention(args, stream);
}

void StepExecutor::Impl::add(const Op&, const SiluMulShape& shape, cudaStream_t stream) {
  silu_mul({.rows = shape.rows,
            .intermediate_size = shape.intermediate_size,
            .gate_up = gate_up,
            .dtype = activations,
            .y = gated.data()},
           stream);
}

void StepExecutor::Impl::add(const Op&, const SampleShape& shape, cudaStream_t stream) {
  sample_greedily({.batch = shape.rows,
                   .vocab_size = shape.vocab_size,
                   .logits = logits,
                   .tokens = state.tokens.data(),
                   .window = config.window,
                   .scratch = state.sample_scratch.data(),
                   .context_lens = state.context_lens.data(),
                   .num_rows = state.num_rows.data(),
                   .selected_pages = state.selected_pages.data(),
                   .pages_by_context = state.pages_by_context.data()},
                  stream);
}

StepExecutor::StepExecutor(const DecodeConfig& config, const StepGraph& graph, DecodeWeights& weights,
                           DecodeState& state, StepTuning tuning)
    : impl_(std::make_unique<Impl>(config, graph, weights, state, tuning)) {}
StepExecutor::~StepExecutor() = default;

void StepExecutor::enqueue(cudaStream_t stream) {
  for (StepGraph::Vertex v = 0; v < impl_->graph.size(); ++v) impl_->enqueue(impl_->graph.op(v), stream);
}

void StepExecutor::capture() {
  if (impl_->executable != nullptr) return;
  RETROSIM_CUDA_CHECK(cudaStreamBeginCapture(impl_->own_stream, cudaStreamCaptureModeThreadLocal));
  enqueue(impl_->own_stream);
  RETROSIM_CUDA_CHECK(cudaStreamEndCapture(impl_->own_stream, &impl_->captured));
  RETROSIM_CUDA_CHECK(cudaGraphInstantiate(&impl_->executable, impl_->captured, 0));
}

void StepExecutor::replay(cudaStream_t stream) {
  capture();
  RETROSIM_CUDA_CHECK(cudaGraphLaunch(impl_->executable, stream));
}

std::size_t StepExecutor::num_kernels() const {
  if (impl_->captured == nullptr) throw std::logic_error("StepExecutor: nothing is captured");
  std::size_t count = 0;
  RETROSIM_CUDA_CHECK(cudaGraphGetNodes(impl_->captured, nullptr, &count));
  std::vector<cudaGraphNode_t> nodes(count);
  RETROSIM_CUDA_CHECK(cudaGraphGetNodes(impl_->captured, nodes.data(), &count));
  return static_cast<std::size_t>(std::count_if(nodes.begin(), nodes.end(), [](cudaGraphNode_t node) {
    cudaGraphNodeType type{};
    RETROSIM_CUDA_CHECK(cudaGraphNodeGetType(node, &type));
    return type == cudaGraphNodeTypeKernel;
  }));
}

std::vector<OpTime> StepExecutor::time_ops(cudaStream_t stream) {
  const std::size_t count = impl_->graph.size();
  std::vector<cudaEvent_t> events(count + 1);
  for (cudaEvent_t& event : events) RETROSIM_CUDA_CHECK(cudaEventCreate(&event));
  RETROSIM_CUDA_CHECK(cudaEventRecord(events[0], stream));
  for (StepGraph::Vertex v = 0; v < count; ++v) {
    impl_->enqueue(impl_->graph.op(v), stream);
    RETROSIM_CUDA_CHECK(cudaEventRecord(events[v + 1], stream));
  }
  RETROSIM_CUDA_CHECK(cudaEventSynchronize(events[count]));
  std::vector<OpTime> times;
  for (StepGraph::Vertex v = 0; v < count; ++v) {
    float milliseconds = 0;
    RETROSIM_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, events[v], events[v + 1]));
    times.push_back({.vertex = v, .microseconds = 1e3 * milliseconds});
  }
  for (const cudaEvent_t event : events) RETROSIM_CUDA_CHECK(cudaEventDestroy(event));
  return times;
}

std::vector<float> StepExecutor::logits(cudaStream_t stream) const {
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
  const ProductView& view = impl_->logits;
  const auto count = static_cast<std::size_t>(impl_->config.batch * impl_->config.llm.vocab_size);
  const std::vector<unsigned char> raw = impl_->logits_out.download();
  std::vector<float> out(count, 0.0F);
  for (int split = 0; split < view.splits; ++split) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t index = static_cast<std::size_t>(split * view.split_stride) + i;
      if (view.dtype == DType::f32) {
        float value = 0;
        std::memcpy(&value, &raw[index * 4], 4);
        out[i] += value;
      } else {
        __nv_bfloat16 value;
        std::memcpy(&value, &raw[index * 2], 2);
        out[i] += __bfloat162float(value);
      }
    }
  }
  return out;
}

std::vector<std::vector<std::vector<std::int32_t>>> StepExecutor::selected(int layer) const {
  const auto index = static_cast<std::size_t>(layer);
  const std::vector<std::int32_t> counts = impl_->counts.at(index).download();
  const std::vector<std::int32_t> pages = impl_->selected.at(index).download();
  const auto heads = static_cast<std::size_t>(impl_->config.llm.num_kv_heads);
  std::vector<std::vector<std::vector<std::int32_t>>> out(counts.size() / heads);
  for (std::size_t list = 0; list < counts.size(); ++list) {
    const auto first = pages.begin() + static_cast<std::ptrdiff_t>(list) * impl_->state.k_max;
    out[list / heads].emplace_back(first, first + counts[list]);
  }
  return out;
}

}  // namespace retrosim::kernels::cuda
