#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "kernels/cuda_step/step_executor.h"
#include "kernels/cuda_step/step_executor_impl.h"
#include "kernels/rope_append/rope.h"

namespace retrosim::kernels::cuda {
namespace {

Bytes byte_buffer(std::int64_t bytes) { return Bytes(static_cast<std::size_t>(bytes)); }

void check_policy(const Policy& policy) {
  constexpr std::string_view kPolicies[] = {"quest", "full", "streaming", "reuse", "arkvale"};
  if (std::find(std::begin(kPolicies), std::end(kPolicies), policy.name()) == std::end(kPolicies)) {
    refuse_on_gpu("policy", policy.name(), "full, quest, streaming, reuse or arkvale");
  }
  if (policy.name() == "streaming" && policy.variant() != PolicyVariant::ideal) {
    refuse_on_gpu("policy variant", name_of(policy.variant()), "ideal for streaming");
  }
  if (policy.name() == "arkvale" && policy.variant() != PolicyVariant::paper) {
    refuse_on_gpu("policy variant", name_of(policy.variant()), "paper for arkvale");
  }
}

}  // namespace

StepExecutor::Impl::Impl(const DecodeConfig& decode_config, const StepGraph& step_graph, DecodeWeights& all_weights,
                         DecodeState& all_state, StepTuning step_tuning)
    : config(decode_config),
      graph(step_graph),
      weights(all_weights),
      state(all_state),
      tuning(step_tuning),
      activations(activation_dtype(decode_config.kv_dtype)) {
  if (config.tensor_parallel_size != 1)
    refuse_on_gpu("tensor_parallel_size", std::to_string(config.tensor_parallel_size), "1");
  if (config.carry_older_rows_through_dense_layers)
    refuse_on_gpu("carry_older_rows_through_dense_layers", "true", "false");
  check_policy(*config.policy);
  if (weights.dtype != activations) refuse_on_gpu("weight_dtype", name_of(weights.dtype), name_of(activations));
  if (state.window != config.window || state.batch != config.batch) throw std::logic_error("state of another batch");
  RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&own_stream, cudaStreamNonBlocking));
  sm_count = device_attribute(cudaDevAttrMultiProcessorCount);
  const std::int64_t pages = config.num_pages();
  selects = config.policy->pages_selected(pages, config.page_size) < pages;
  allocate();
  plan_segments();
}

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
  host_pages.resize(static_cast<std::size_t>(llm.num_layers));
  std::int64_t partial_rows = 0;
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
    const Op& op = graph.op(v);
    if (const auto* shape = std::get_if<AttentionShape>(&op.shape)) {
      partial_rows = std::max(partial_rows, config.batch * shape->window * llm.num_q_heads * shape->num_splits);
    }
    if (op.kind() == OpKind::host_to_device && std::string_view(op.name) == "page_prefetch") {
      prefetched = byte_buffer(op.bytes_moved().host_to_device);
      prefetch_source = std::make_unique<PinnedBytes>(op.bytes_moved().host_to_device);
    }
    if (const auto* shape = std::get_if<MatmulShape>(&op.shape)) {
      const DeviceLinear& product_weights = linear(op);
      if (product_weights.n() != shape->n || product_weights.k() != shape->k)
        throw std::logic_error("weights of another model");
      if (product_weights.path() == MatmulPath::lt) weights.lt.choose(shape->m, shape->n, shape->k, shape->bias);
    }
  }
  partial_values = DeviceBuffer<float>(static_cast<std::size_t>(partial_rows * llm.head_dim));
  partial_lse = DeviceBuffer<float>(static_cast<std::size_t>(partial_rows));
  exchange_values = DeviceBuffer<float>(partial_values.size());
  exchange_lse = DeviceBuffer<float>(partial_lse.size());
  exchange_values.fill_bytes(0xff);
  exchange_lse.fill_bytes(0xff);
}

StepExecutor::StepExecutor(const DecodeConfig& config, const StepGraph& graph, DecodeWeights& weights,
                           DecodeState& state, StepTuning tuning)
    : impl_(std::make_unique<Impl>(config, graph, weights, state, tuning)) {}
StepExecutor::~StepExecutor() = default;

std::vector<OpTime> StepExecutor::time_ops(cudaStream_t stream) {
  const std::size_t count = impl_->graph.size();
  std::vector<cudaEvent_t> events(count + 1);
  for (cudaEvent_t& event : events) RETROSIM_CUDA_CHECK(cudaEventCreate(&event));
  RETROSIM_CUDA_CHECK(cudaEventRecord(events[0], stream));
  for (StepGraph::Vertex v = 0; v < count; ++v) {
    if (impl_->graph.op(v).stream == Stream::host) {
      impl_->run_on_host(v, v + 1, stream);
    } else {
      impl_->enqueue(impl_->graph.op(v), stream);
    }
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

void StepExecutor::select(int layer, std::span<const std::int32_t> pages) {
  const auto index = static_cast<std::size_t>(layer);
  const auto k_max = static_cast<std::size_t>(impl_->state.k_max);
  const std::size_t lists = impl_->counts.at(index).size();
  if (pages.empty() || pages.size() > k_max || lists == 0) throw std::logic_error("StepExecutor: no such selection");
  std::vector<std::int32_t> all(lists * k_max, 0);
  for (std::size_t list = 0; list < lists; ++list) {
    std::copy(pages.begin(), pages.end(), all.begin() + static_cast<std::ptrdiff_t>(list * k_max));
  }
  impl_->selected[index].upload(all);
  impl_->counts[index].upload(std::vector<std::int32_t>(lists, static_cast<std::int32_t>(pages.size())));
}

std::int64_t StepExecutor::pages_recalled(int layer) const {
  const auto& pages = impl_->host_pages.at(static_cast<std::size_t>(layer));
  return pages != nullptr ? pages->recalled() : 0;
}

}  // namespace retrosim::kernels::cuda
