#include <stdexcept>
#include <vector>

#include "kernels/cuda_step/decode_weights.h"
#include "kernels/cuda_step/random_fill.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {

DecodeWeights::DecodeWeights(const LlmSpec& spec, DType type, std::int64_t max_rows, std::int64_t max_sequences)
    : llm(spec), dtype(type) {
  if (spec.moe.num_experts > 0) {
    throw InputError("", "num_experts", std::to_string(spec.moe.num_experts),
                     "a dense model: experts do not run on the GPU");
  }
  const auto vector = [this](std::int64_t elements) {
    return DeviceBuffer<unsigned char>(static_cast<std::size_t>(bytes_of(dtype, elements)));
  };
  const std::int64_t hidden = spec.hidden_size;
  const std::int64_t q_size = static_cast<std::int64_t>(spec.num_q_heads) * spec.head_dim;
  const std::int64_t kv_size = static_cast<std::int64_t>(spec.num_kv_heads) * spec.head_dim;
  embedding = vector(spec.vocab_size * hidden);
  final_gain = vector(hidden);
  lm_head = DeviceLinear(spec.vocab_size, hidden, dtype, false, max_sequences);
  for (int i = 0; i < spec.num_layers; ++i) {
    DecodeLayerWeights layer;
    layer.input_gain = vector(hidden);
    layer.mlp_gain = vector(hidden);
    if (spec.qk_norm) {
      layer.q_gain = vector(spec.head_dim);
      layer.k_gain = vector(spec.head_dim);
    }
    layer.qkv = DeviceLinear(q_size + 2 * kv_size, hidden, dtype, spec.qkv_bias, max_rows);
    layer.o = DeviceLinear(hidden, q_size, dtype, false, max_rows);
    layer.gate_up = DeviceLinear(2LL * spec.intermediate_size, hidden, dtype, false, max_rows);
    layer.down = DeviceLinear(hidden, spec.intermediate_size, dtype, false, max_rows);
    layers.push_back(std::move(layer));
  }
}

void DecodeWeights::fill_random(std::uint64_t seed, cudaStream_t stream) {
  std::uint64_t next = seed * 1000;
  const auto vector = [&](DeviceBuffer<unsigned char>& data, float amplitude) {
    if (data.size() == 0) return;
    const auto count = static_cast<std::int64_t>(data.size()) * 8 / bits_of(dtype);
    cuda::fill_random(data.data(), dtype, count, amplitude, next++, stream);
  };
  vector(embedding, 1.0F);
  vector(final_gain, 1.0F);
  lm_head.fill_random(next++, stream);
  for (DecodeLayerWeights& layer : layers) {
    vector(layer.input_gain, 1.0F);
    vector(layer.mlp_gain, 1.0F);
    vector(layer.q_gain, 1.0F);
    vector(layer.k_gain, 1.0F);
    for (DeviceLinear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down})
      linear->fill_random(next++, stream);
  }
}

void DecodeWeights::upload(const LlmWeights& checkpoint) {
  const auto vector = [this](DeviceBuffer<unsigned char>& to, std::span<const float> from) {
    if (static_cast<std::int64_t>(to.size()) != bytes_of(dtype, static_cast<std::int64_t>(from.size()))) {
      throw std::logic_error("DecodeWeights: weights of another shape");
    }
    if (from.empty()) return;
    std::vector<__nv_bfloat16> half;
    const void* source = from.data();
    if (dtype == DType::bf16) {
      for (const float value : from) half.push_back(__float2bfloat16(value));
      source = half.data();
    }
    RETROSIM_CUDA_CHECK(cudaMemcpy(to.data(), source, to.size(), cudaMemcpyHostToDevice));
  };
  vector(embedding, checkpoint.embedding);
  vector(final_gain, checkpoint.final_norm);
  lm_head.upload(checkpoint.head(), {});
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerWeights& from = checkpoint.layers.at(i);
    vector(layers[i].input_gain, from.input_norm);
    vector(layers[i].mlp_gain, from.post_attention_norm);
    vector(layers[i].q_gain, from.q_norm);
    vector(layers[i].k_gain, from.k_norm);
    layers[i].qkv.upload(from.qkv, from.qkv_bias);
    layers[i].o.upload(from.o, {});
    layers[i].gate_up.upload(from.gate_up, {});
    layers[i].down.upload(from.down, {});
  }
}

}  // namespace retrosim::kernels::cuda
