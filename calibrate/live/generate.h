// Tokens that a real model generates under a policy, on the GPU or by the host decoder: the two must agree in float32.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "calibrate/live/live_config.h"

namespace retrosim {

struct GenerateRequest {
  std::filesystem::path checkpoint;
  std::filesystem::path tokens_file;
  std::int64_t prompt = 64;  // tokens of the file that are given
  std::int64_t steps = 32;   // tokens to generate, greedily
  LiveConfig config;         // policy, window, budget, page_size, dense_layers, kv_dtype
};

/// On the CPU, in float32. Throws InputError for a checkpoint, tokens or a policy that do not do.
std::vector<std::int32_t> generate_on_host(const GenerateRequest& request);

namespace gpu {
/// In the request's dtype: f32 or bf16 weights, activations and caches. Throws InputError also without a GPU.
std::vector<std::int32_t> generate(const GenerateRequest& request);
}  // namespace gpu

}  // namespace retrosim
