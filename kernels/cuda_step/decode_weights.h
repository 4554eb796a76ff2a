// A dense decoder's weights on the device.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/checkpoint/llm_weights.h"
#include "kernels/cuda_step/device_linear.h"
#include "model/llm_spec.h"

namespace retrosim::kernels::cuda {

struct DecodeLayerWeights {
  DeviceBuffer<unsigned char> input_gain;  // [hidden]
  DeviceLinear qkv;                        // [(q + 2 kv heads) * head_dim, hidden]
  DeviceBuffer<unsigned char> q_gain;      // [head_dim], where the model norms its heads
  DeviceBuffer<unsigned char> k_gain;      // [head_dim]
  DeviceLinear o;                          // [hidden, q heads * head_dim]
  DeviceBuffer<unsigned char> mlp_gain;    // [hidden]
  DeviceLinear gate_up;                    // [2 * intermediate, hidden]
  DeviceLinear down;                       // [hidden, intermediate]
};

/// Every layer has its own memory. `dtype` is bf16, or f32 for identities; one GPU holds the whole model.
struct DecodeWeights {
  /// Uninitialised. Products run for at most max_rows rows, the LM head for at most max_sequences. Throws InputError
  /// for a model with experts or of a dtype that there is no kernel for.
  DecodeWeights(const LlmSpec& llm, DType dtype, std::int64_t max_rows, std::int64_t max_sequences);

  void fill_random(std::uint64_t seed, cudaStream_t stream);
  /// A checkpoint's weights, rounded to `dtype`.
  void upload(const LlmWeights& checkpoint);

  LlmSpec llm;
  DType dtype;
  DeviceBuffer<unsigned char> embedding;  // [vocab, hidden]
  std::vector<DecodeLayerWeights> layers;
  DeviceBuffer<unsigned char> final_gain;  // [hidden]
  DeviceLinear lm_head;                    // [vocab, hidden]
  LtMatmul lt;                             // algorithms chosen for these products
};

}  // namespace retrosim::kernels::cuda
