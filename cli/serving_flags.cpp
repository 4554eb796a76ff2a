#include "cli/serving_flags.h"

#include "cli/command.h"
#include "sim/workload/presets.h"

namespace retrosim::cli {
namespace {

std::string preset_names() {
  std::string names;
  for (const WorkloadPreset& preset : workload_presets()) names.append(names.empty() ? "" : ", ").append(preset.name);
  return names;
}

}  // namespace

void add_target_flags(CLI::App& command, ServingRequest& request) {
  SimulationRequest& simulation = request.simulation;
  simulation.policy = "full";
  CLI::App* target = command.add_option_group("Target");
  target->add_option("--llm", simulation.llm, "Model: bundled name (see `retrosim llms`), config.json or its folder")
      ->required();
  add_gpu_flags(*target, simulation);
  target->add_option("--kv-cache-dtype", simulation.kv_cache_dtype, "auto, bfloat16, float16, fp8, int8, int4")
      ->capture_default_str();
}

void add_scheduler_flags(CLI::App& command, ServingRequest& request) {
  CLI::App* scheduler = command.add_option_group("Scheduler");
  scheduler->add_flag("--enable-prefix-caching,!--no-enable-prefix-caching", request.enable_prefix_caching,
                      "Keep the KV of ended sequences for prompts with the same beginning, as long as nobody needs the "
                      "blocks");
  scheduler->add_flag("--async-scheduling,!--no-async-scheduling", request.async_scheduling,
                      "Schedule each step while the one before runs, as vLLM does by default from v0.14 on");
  scheduler->add_flag("--cudagraph-padding,!--no-cudagraph-padding", request.cudagraph_padding,
                      "Run decode steps at the next batch size that vLLM captures: 1, 2, 4, 8, 16, 24, ...");
}

void add_engine_memory_flags(CLI::App& command, ServingRequest& request) {
  CLI::App* engine = command.add_option_group("Memory and host");
  engine->add_option("--gpu-memory-utilization", request.gpu_memory_utilization, "Share of GPU memory in use")
      ->capture_default_str();
  engine->add_option("--activation-bytes", request.activation_bytes,
                     "Peak of activations per GPU [from the model's shape and the scheduler's limits]");
  engine->add_option("--runtime-bytes", request.runtime_bytes, "Memory per GPU that is allocated outside of torch")
      ->capture_default_str();
  engine
      ->add_option("--driver-reserved-bytes", request.driver_reserved_bytes,
                   "Of the card's nominal capacity, what CUDA does not offer")
      ->capture_default_str();
  engine->add_option("--num-gpu-blocks-override", request.num_gpu_blocks_override, "KV blocks per replica");
  engine->add_flag("--admit-partial-prompts", request.admit_partial_prompts,
                   "Admit a request when the blocks of its first chunk are free, not those of its whole prompt");
  engine->add_option("--step-overhead-us", request.step_overhead_us, "Host time between steps that the GPU waits for")
      ->capture_default_str();
}

void add_serving_flags(CLI::App& command, ServingRequest& request) {
  const auto group = [&](const char* name) { return command.add_option_group(name); };
  SimulationRequest& simulation = request.simulation;

  add_target_flags(command, request);
  CLI::App* target = group("Replicas");
  target->add_option("--tensor-parallel-size", simulation.tensor_parallel_size, "GPUs of one replica")
      ->capture_default_str();
  target->add_option("--replicas", request.replicas, "Replicas behind one router")->capture_default_str();
  target
      ->add_option("--routing", request.routing,
                   "least-loaded (queued and running requests), round-robin, session-affinity (later turns where the "
                   "first went) or prefix-aware (longest cached prefix)")
      ->capture_default_str();

  CLI::App* policy = group("Policy");
  policy->add_option("--policy", simulation.policy, policy_help())->capture_default_str();
  policy->add_option("--window", simulation.window, "Queries that each loaded page serves [2 for retro, else 1]");
  policy->add_option("--budget", simulation.budget, "Pages loaded per KV head, as a fraction of the context's [0.15]");
  policy->add_option("--budget-tokens", simulation.budget_tokens, "The same as a number of tokens");
  policy->add_option("--policy-variant", simulation.policy_variant,
                     "Costs of the policy as its paper, its released code or an engineered (ideal) version has them "
                     "[paper, else ideal]");
  policy->add_option("--policy-option", simulation.policy_options, "NAME=VALUE of the policy's own; may be repeated")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  policy->add_option("--page-size", simulation.page_size, "Tokens per page and KV block")->capture_default_str();
  policy->add_option("--dense-layers", simulation.dense_layers, "First layers that attend to everything [2]");
  policy->add_option("--output-cache-dtype", simulation.output_cache_dtype, "auto (bfloat16), float32, float16, fp8");
  policy->add_option("--trace", simulation.trace, "Recorded .rtrace that says how many pages are unseen [bundled]");

  CLI::App* workload = group("Workload");
  WorkloadRequest& load = request.workload;
  workload
      ->add_option("--workload", load.workload,
                   "Lengths: " + preset_names() +
                       "; or a trace file (three-column, Azure or BurstGPT CSV, Mooncake or ShareGPT-like JSON lines)")
      ->capture_default_str();
  workload->add_option("--input-len", load.input_len,
                       "Prompt lengths: N, uniform:LOW:HIGH, exponential:MEAN, lognormal:MEDIAN:SIGMA, "
                       "normal:MEAN:DEVIATION, quantiles:0=N:P=N:...:1=N [,MIN,MAX]");
  workload->add_option("--output-len", load.output_len, "Output lengths, likewise");
  workload->add_option("--num-requests", load.num_requests, "Requests [1000; of a trace file all]");
  workload->add_option("--request-rate", load.request_rate, "Requests per second [1; of a trace file its own]");
  workload->add_option("--arrival-cv", load.arrival_cv, "Coefficient of variation of the gaps; 1: Poisson, else gamma")
      ->capture_default_str();
  workload->add_option("--arrivals", load.arrivals,
                       "Published arrivals of a preset: its rate, unless --request-rate is given, and burstiness");
  workload->add_option("--turns", load.turns,
                       "Turns of a session, a distribution like --input-len, which then are a turn's new tokens "
                       "behind all that was said before [single requests]");
  workload->add_option("--think-time-ms", load.think_time_ms,
                       "From an answer to the session's next turn, a distribution [exponential:30000]");
  workload
      ->add_option("--shared-prefix-len", load.shared_prefix_len,
                   "Tokens that begin every session's prompts (a system prompt)")
      ->capture_default_str();
  workload
      ->add_option("--max-concurrency", load.max_concurrency,
                   "Closed loop: clients that send the next request after the last answer; 0: open")
      ->capture_default_str();
  workload->add_option("--seed", load.seed, "Seed of arrivals and lengths")->capture_default_str();

  CLI::App* engine = group("Engine");
  engine->add_option("--max-num-seqs", request.max_num_seqs, "Sequences in one step")->capture_default_str();
  engine->add_option("--max-num-batched-tokens", request.max_num_batched_tokens, "Rows of one step")
      ->capture_default_str();
  engine->add_option("--max-model-len", request.max_model_len, "Longest sequence, tokens; 0: the model's")
      ->capture_default_str();
  add_scheduler_flags(command, request);
  add_engine_memory_flags(command, request);
  engine->add_flag("--exact-steps", request.exact_steps, "Simulate the step graph of every step (slow)");

  CLI::App* slo = group("Service level");
  slo->add_option("--slo-ttft-ms", request.slo_ttft_ms, "Limit on each request's time to first token");
  slo->add_option("--slo-tpot-ms", request.slo_tpot_ms, "Limit on each request's time per output token");
  slo->add_option("--slo-e2e-ms", request.slo_e2e_ms, "Limit on each request's latency");
}

}  // namespace retrosim::cli
