// What a user asks `simulate` or `report` to predict, and its resolution into a configuration with every default filled
// in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/decode_config.h"
#include "model/gpu_profile.h"

namespace retrosim {

/// Unset optionals take the default that fits the policy; setting one that the policy has no use for is refused.
struct SimulationRequest {
  std::string llm;                          // bundled name, config.json, or folder that holds one
  std::string gpu;                          // bundled name or path; empty: the GPU of `profile`
  std::string profile;                      // calibrated profile; empty: the bundled one of `gpu`
  std::vector<std::string> gpu_settings;    // KEY=NUMBER of the GPU's spec, replaced
  std::string policy = "retro";             // a policy's name; "retro" is quest with window 2
  std::string policy_variant;               // paper, released or ideal; empty: the policy's default
  std::vector<std::string> policy_options;  // NAME=VALUE, the policy's own
  std::optional<int> window;                // queries; default 2 for retro, 1 otherwise
  std::optional<double> budget;             // fraction of pages; default 0.15
  std::optional<std::int64_t> budget_tokens;
  std::int64_t context = 32768;  // tokens
  std::int64_t batch = 1;
  int page_size = 16;  // tokens
  std::optional<int> dense_layers;
  std::string kv_cache_dtype = "auto";      // auto: the weights' dtype when it has 16 or more bits, else bfloat16
  std::string output_cache_dtype = "auto";  // auto: bfloat16
  int tensor_parallel_size = 1;
  int steps = 64;
  std::string trace;  // .rtrace; empty: the bundled sample
  bool carry_older_rows_through_dense_layers = false;
  bool widen_summaries = false;
  bool mask_unseen_rows = false;
};

struct ResolvedSimulation {
  DecodeConfig config;
  GpuProfile gpu;
  std::string policy;  // as asked for; "retro" is quest with a window
  int steps = 0;
  std::string trace;        // path as given; empty when the bundled sample is used
  bool uses_trace = false;  // false: the policy's pages do not depend on scores
};

/// The profile that `profile` or `gpu` names, changed by `gpu_settings`. Throws InputError.
GpuProfile resolve_gpu(const SimulationRequest& request);
/// The configuration of one step on a model and a GPU that were looked up before.
DecodeConfig resolve_config(const SimulationRequest& request, const LlmSpec& llm, const GpuProfile& gpu);
/// Both. Throws InputError naming the flag for anything unknown, impossible or without effect.
ResolvedSimulation resolve(const SimulationRequest& request);

/// The same question with dense attention, and with window 1.
DecodeConfig full_attention_of(const DecodeConfig& config);
DecodeConfig without_window(const DecodeConfig& config);

}  // namespace retrosim
