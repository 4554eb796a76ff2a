#include "cli/command.h"

namespace retrosim::cli {

/// "full, streaming, ..., or retro: quest with window 2".
std::string policy_help() {
  std::string help;
  for (const std::string& name : policy_names()) help += name + ", ";
  return help + "or retro: quest with window 2";
}

void add_gpu_flags(CLI::App& command, SimulationRequest& request) {
  command.add_option("--gpu", request.gpu, "GPU: bundled name (see `retrosim gpus`), spec or profile JSON");
  command.add_option("--profile", request.profile, "Calibrated GPU profile JSON, instead of the bundled one");
  command
      .add_option("--set", request.gpu_settings,
                  "What if: KEY=NUMBER of the GPU's spec, e.g. hbm_bandwidth_bytes_per_s=4e12; may be repeated")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_simulation_flags(CLI::App& command, SimulationRequest& request) {
  const auto group = [&](const char* name) { return command.add_option_group(name); };

  CLI::App* target = group("Target");
  target->add_option("--llm", request.llm, "Model: bundled name (see `retrosim llms`), config.json or its folder")
      ->required();
  add_gpu_flags(*target, request);
  target->add_option("--context", request.context, "Tokens in the KV cache, the current one included")
      ->capture_default_str();
  target->add_option("--batch", request.batch, "Sequences decoded together")->capture_default_str();
  target->add_option("--tensor-parallel-size", request.tensor_parallel_size, "GPUs that share each layer")
      ->capture_default_str();
  target->add_option("--kv-cache-dtype", request.kv_cache_dtype, "auto, bfloat16, float16, fp8, int8, int4")
      ->capture_default_str();

  CLI::App* policy = group("Policy");
  policy->add_option("--policy", request.policy, policy_help())->capture_default_str();
  policy->add_option("--window", request.window,
                     "Queries that each loaded page serves, the current one included; 1: no retrospection "
                     "[2 for retro, else 1]");
  policy->add_option("--budget", request.budget, "Pages loaded per KV head, as a fraction of the context's [0.15]");
  policy->add_option("--budget-tokens", request.budget_tokens, "The same as a number of tokens");
  policy->add_option("--policy-variant", request.policy_variant,
                     "Costs of the policy as its paper, its released code or an engineered (ideal) version has them "
                     "[paper, else ideal]");
  policy->add_option("--policy-option", request.policy_options, "NAME=VALUE of the policy's own; may be repeated")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  policy->add_option("--page-size", request.page_size, "Tokens per page")->capture_default_str();
  policy->add_option("--dense-layers", request.dense_layers, "First layers that attend to everything [2]");

  CLI::App* variants = group("Priced alternatives of the window");
  variants->add_option("--output-cache-dtype", request.output_cache_dtype, "auto (bfloat16), float32, float16, fp8")
      ->capture_default_str();
  variants->add_flag("--mask-unseen-rows", request.mask_unseen_rows,
                     "Compute older queries on every loaded page and mask, instead of skipping pages they saw");
  variants->add_flag("--widen-summaries", request.widen_summaries,
                     "Widen the summaries of pages with overwritten keys, instead of recomputing them");
  variants->add_flag("--carry-older-rows", request.carry_older_rows_through_dense_layers,
                     "Run the older queries through the first dense layers too");

  CLI::App* demand = group("Page demand");
  demand->add_option("--trace", request.trace, "Recorded .rtrace that says which pages are selected [bundled sample]");
  demand->add_option("--steps", request.steps, "Decode steps to simulate")->capture_default_str();
}

}  // namespace retrosim::cli
