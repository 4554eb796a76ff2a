// A small model to serve, and the GPU that serves it.
#pragma once

#include "model/gpu_profile.h"
#include "sim/serving/serving_config.h"

namespace retrosim::testing {

/// SmolLM2-135M with dense attention, up to 32 sequences at once.
inline ServingConfig small_serving() {
  ServingConfig config;
  config.decode.llm = find_llm_spec("smollm2-135m");
  config.decode.policy = make_policy("full", {});
  config.decode.dense_layers = 0;
  config.max_num_seqs = 32;
  return config;
}

inline const GpuProfile& h100_profile() {
  static const GpuProfile profile = find_gpu_profile("h100-sxm");
  return profile;
}

}  // namespace retrosim::testing
