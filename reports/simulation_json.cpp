#include "reports/simulation_json.h"

#include "reports/format.h"

namespace retrosim {
namespace {

Json ops_json(const std::vector<OpRecord>& ops) {
  Json list = Json::array();
  for (const OpRecord& op : ops) {
    list.push_back({{"name", op.name},
                    {"layer", op.layer},
                    {"latency_us", op.latency_us},
                    {"bound", name_of(op.bound)},
                    {"hbm_bytes", op.traffic.hbm()},
                    {"flops", op.flops},
                    {"provenance", name_of(op.provenance)}});
  }
  return list;
}

Json llm_json(const LlmSpec& llm) {
  Json json{{"model_type", llm.model_type},
            {"num_layers", llm.num_layers},
            {"hidden_size", llm.hidden_size},
            {"intermediate_size", llm.intermediate_size},
            {"num_q_heads", llm.num_q_heads},
            {"num_kv_heads", llm.num_kv_heads},
            {"head_dim", llm.head_dim},
            {"vocab_size", llm.vocab_size},
            {"max_position", llm.max_position},
            {"num_params", llm.num_params()},
            {"weight_dtype", name_of(llm.weight_dtype)}};
  if (llm.moe.num_experts > 0) {
    json["num_experts"] = llm.moe.num_experts;
    json["experts_per_token"] = llm.moe.experts_per_token;
  }
  return json;
}

}  // namespace

Json inputs_json(const ResolvedSimulation& resolved) {
  const DecodeConfig& config = resolved.config;
  const PolicyParams& params = config.policy->params();
  const bool full = config.policy->name() == "full";
  Json json{{"llm", config.llm.name},
            {"gpu", resolved.gpu.spec.name},
            {"profile", resolved.gpu.name},
            {"profile_provenance", resolved.gpu.provenance},
            {"policy", resolved.policy},
            {"page_policy", config.policy->name()},
            {"policy_variant", name_of(config.policy->variant())},
            {"policy_options", Json::object()},
            {"window", config.window},
            {"budget", nullptr},
            {"budget_tokens", nullptr},
            {"pages_selected", config.policy->pages_selected(config.num_pages(), config.page_size)},
            {"num_pages", config.num_pages()},
            {"context", config.context},
            {"batch", config.batch},
            {"page_size", config.page_size},
            {"dense_layers", config.dense_layers},
            {"kv_cache_dtype", name_of(config.kv_dtype)},
            {"output_cache_dtype", name_of(config.output_cache_dtype)},
            {"tensor_parallel_size", config.tensor_parallel_size},
            {"steps", resolved.steps},
            {"trace", nullptr},
            {"carry_older_rows", config.carry_older_rows_through_dense_layers},
            {"widen_summaries", config.widen_summaries},
            {"mask_unseen_rows", config.mask_unseen_rows},
            {"llm_shape", llm_json(config.llm)}};
  if (!full && params.budget_tokens > 0) json["budget_tokens"] = params.budget_tokens;
  if (!full && params.budget_tokens == 0) json["budget"] = params.budget;
  for (const PolicyOption& option : config.policy->options()) {
    json["policy_options"][std::string(option.name)] = option.value;
  }
  if (resolved.uses_trace) json["trace"] = trace_label(resolved);
  return json;
}

Json step_json(const StepSummary& step) {
  return {{"latency_us_mean", step.latency_us_mean},
          {"latency_us_p50", step.latency_us_p50},
          {"latency_us_p99", step.latency_us_p99},
          {"kv_read_bytes", step.kv_read_bytes},
          {"summary_read_bytes", step.summary_read_bytes},
          {"weight_read_bytes", step.weight_read_bytes},
          {"output_cache_read_bytes", step.output_cache_read_bytes},
          {"other_read_bytes", step.other_read_bytes},
          {"hbm_read_bytes", step.hbm_read_bytes},
          {"kv_write_bytes", step.kv_write_bytes},
          {"hbm_write_bytes", step.hbm_write_bytes},
          {"flops", step.flops},
          {"unseen_pages_mean", step.unseen_pages_mean},
          {"recalled_pages_mean", step.recalled_pages_mean},
          {"host_to_device_bytes", step.host_to_device_bytes},
          {"device_to_host_bytes", step.device_to_host_bytes},
          {"host_memory_bytes", step.host_memory_bytes},
          {"output_cache_state_bytes", step.output_cache_state_bytes}};
}

Json memory_json(const GpuMemoryUse& memory) {
  return {{"weight_bytes", memory.weight_bytes},
          {"kv_bytes", memory.kv_bytes},
          {"policy_metadata_bytes", memory.policy_metadata_bytes},
          {"output_cache_bytes", memory.output_cache_bytes},
          {"needed_bytes", memory.needed_bytes()},
          {"capacity_bytes", memory.capacity_bytes},
          {"fits", memory.fits()},
          {"host_kv_bytes", memory.host_kv_bytes},
          {"host_index_bytes", memory.host_index_bytes}};
}

Json mapping_json(const SimulationRun& run) {
  if (!run.trace) return {{"used", false}, {"why", "the pages of this policy do not depend on scores"}};
  const TraceMapping& mapping = run.trace->mapping;
  return {{"used", true},
          {"exact", mapping.exact},
          {"layers", mapping.layers},
          {"heads", mapping.heads},
          {"context", mapping.context},
          {"page_size", mapping.page_size},
          {"batch", mapping.batch},
          {"synthetic", mapping.synthetic.empty() ? Json(nullptr) : Json(mapping.synthetic)}};
}

/// How the selected sets come about, and what a window can find in them.
Json selection_json(const DecodeConfig& config) {
  const PolicyEvidence evidence = config.policy->evidence();
  const char* window = config.window == 1            ? "none"
                       : window_is_pure_cost(config) ? "pure cost: the policy never returns to a page that it skipped"
                                                     : "serves older queries with pages that they have not seen";
  return {{"evaluated", evidence.evaluated}, {"note", evidence.note}, {"window", window}};
}

Json simulation_json(const SimulationRun& run) {
  Json json{{"schema", "retrosim.simulate/1"},
            {"inputs", inputs_json(run.resolved)},
            {"step", step_json(run.result.step)},
            {"versus", {{"full", step_json(run.full.step)}, {"without_retro", step_json(run.without_retro.step)}}},
            {"mass_recall", nullptr},
            {"selection", selection_json(run.resolved.config)},
            {"gpu_memory", memory_json(run.memory)},
            {"trace_mapping", mapping_json(run)},
            {"truncated", run.trace && run.trace->truncated},
            {"ops", ops_json(run.result.ops)}};
  if (run.trace) {
    json["mass_recall"] = {{"without_retro", run.trace->mass_recall_mean}, {"step", run.trace->mass_recall_retro_mean}};
  }
  return json;
}

std::vector<std::string> warnings_of(const SimulationRun& run) {
  std::vector<std::string> warnings;
  if (run.trace && run.trace->truncated) {
    warnings.push_back(trace_label(run.resolved) + ": the trace is cut off; read up to its last whole chunk");
  }
  if (window_is_pure_cost(run.resolved.config)) {
    warnings.push_back("policy " + std::string(run.resolved.config.policy->name()) +
                       " never returns to a page that it skipped: nothing is ever unseen, and the window is pure cost");
  }
  if (!run.memory.fits()) {
    warnings.push_back("does not fit: weights, KV cache and state need " +
                       format_bytes(static_cast<double>(run.memory.needed_bytes())) + " on each GPU, which has " +
                       format_bytes(static_cast<double>(run.memory.capacity_bytes)));
  }
  return warnings;
}

}  // namespace retrosim
