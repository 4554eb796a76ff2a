#include "reports/simulation_request.h"

#include "model/error.h"
#include "model/gpu_overrides.h"
#include "reports/policy_flags.h"

namespace retrosim {
namespace {

constexpr int kMaxSteps = 1 << 20;

DType resolve_dtype(const std::string& text, DType automatic, const char* flag) {
  return text == "auto" ? automatic : parse_dtype(text, flag);
}

GpuProfile named_gpu(const SimulationRequest& request) {
  if (request.profile.empty()) {
    if (request.gpu.empty()) throw InputError("--gpu: expected a bundled GPU's name or a path (or give --profile)");
    return find_gpu_profile(request.gpu);
  }
  GpuProfile profile = load_gpu_profile(request.profile);
  if (!request.gpu.empty()) {
    const GpuSpec asked = find_gpu_spec(request.gpu);
    if (asked.name != profile.spec.name) {
      throw InputError(request.profile, "gpu", profile.spec.name, "the GPU that --gpu names, " + asked.name);
    }
  }
  return profile;
}

void refuse_idle_switches(const SimulationRequest& request, const DecodeConfig& config) {
  if (request.widen_summaries && !config.policy->keeps_page_summaries()) {
    refuse_without_effect("--widen-summaries", "with --policy " + request.policy + ", which keeps no page summaries");
  }
  if (config.window > 1) return;
  const std::string reason = "without a window of 2 or more";
  if (request.mask_unseen_rows) refuse_without_effect("--mask-unseen-rows", reason);
  if (request.widen_summaries) refuse_without_effect("--widen-summaries", reason);
  if (request.carry_older_rows_through_dense_layers) refuse_without_effect("--carry-older-rows", reason);
  if (request.output_cache_dtype != "auto") refuse_without_effect("--output-cache-dtype", reason);
}

}  // namespace

GpuProfile resolve_gpu(const SimulationRequest& request) {
  return with_overrides(named_gpu(request), request.gpu_settings);
}

DecodeConfig resolve_config(const SimulationRequest& request, const LlmSpec& llm, const GpuProfile& gpu) {
  DecodeConfig config;
  config.llm = llm;
  const bool retro = request.policy == "retro";
  const std::string policy = retro ? "quest" : request.policy;
  PolicyParams params = budget_params(policy, request.budget, request.budget_tokens);
  set_variant_and_options(request.policy_variant, request.policy_options, params);
  config.policy = make_policy(policy, params);
  config.window = request.window.value_or(retro ? 2 : 1);
  if (config.window < 1 || config.window > kMaxWindow) {
    throw InputError("", "--window", std::to_string(config.window),
                     "1 (no retrospection) to " + std::to_string(kMaxWindow) + " queries");
  }
  config.context = request.context;
  config.batch = request.batch;
  config.page_size = request.page_size;
  const bool has_dense_layers = policy != "full";
  if (request.dense_layers && !has_dense_layers) {
    refuse_without_effect("--dense-layers", "with --policy " + request.policy);
  }
  config.dense_layers = request.dense_layers.value_or(has_dense_layers ? config.dense_layers : 0);
  config.tensor_parallel_size = request.tensor_parallel_size;
  launch_as_on(gpu, config);
  config.kv_dtype =
      resolve_dtype(request.kv_cache_dtype,
                    bits_of(config.llm.weight_dtype) >= 16 ? config.llm.weight_dtype : DType::bf16, "--kv-cache-dtype");
  config.output_cache_dtype = resolve_dtype(request.output_cache_dtype, DType::bf16, "--output-cache-dtype");
  config.carry_older_rows_through_dense_layers = request.carry_older_rows_through_dense_layers;
  config.widen_summaries = request.widen_summaries;
  config.mask_unseen_rows = request.mask_unseen_rows;
  refuse_idle_switches(request, config);
  validate(config);
  if (request.steps < 1 || request.steps > kMaxSteps) {
    throw InputError("", "--steps", std::to_string(request.steps), "1 to " + std::to_string(kMaxSteps));
  }
  if (!request.trace.empty() && !config.policy->selects_by_score()) {
    refuse_without_effect("--trace", "with --policy " + request.policy + ", whose pages do not depend on scores");
  }
  return config;
}

ResolvedSimulation resolve(const SimulationRequest& request) {
  if (request.llm.empty()) throw InputError("--llm: expected a bundled model's name or a path");
  const LlmSpec llm = find_llm_spec(request.llm);
  ResolvedSimulation resolved;
  resolved.policy = request.policy;
  resolved.gpu = resolve_gpu(request);
  resolved.config = resolve_config(request, llm, resolved.gpu);
  resolved.steps = request.steps;
  resolved.uses_trace = resolved.config.policy->selects_by_score();
  resolved.trace = request.trace;
  return resolved;
}

DecodeConfig full_attention_of(const DecodeConfig& config) {
  DecodeConfig full = without_window(config);
  full.policy = make_policy("full", PolicyParams{});
  full.dense_layers = 0;
  return full;
}

DecodeConfig without_window(const DecodeConfig& config) {
  DecodeConfig single = config;
  single.window = 1;
  single.carry_older_rows_through_dense_layers = false;
  single.widen_summaries = false;
  single.mask_unseen_rows = false;
  return single;
}

}  // namespace retrosim
