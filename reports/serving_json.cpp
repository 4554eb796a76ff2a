#include "reports/serving_json.h"

#include "reports/format.h"
#include "reports/simulation_json.h"
#include "reports/table.h"

namespace retrosim {
namespace {

void add_latency(Json& json, const std::string& name, const LatencySummary& summary) {
  json[name + "_ms_mean"] = summary.mean_s * 1e3;
  json[name + "_ms_p50"] = summary.p50_s * 1e3;
  json[name + "_ms_p90"] = summary.p90_s * 1e3;
  json[name + "_ms_p95"] = summary.p95_s * 1e3;
  json[name + "_ms_p99"] = summary.p99_s * 1e3;
}

Json optional_ms(const std::optional<double>& seconds) { return seconds ? Json(*seconds * 1e3) : Json(nullptr); }

Json memory_of_replica_json(const ReplicaMemory& memory) {
  return {{"usable_bytes", memory.usable},          {"weight_bytes", memory.weights},
          {"activation_bytes", memory.activations}, {"runtime_bytes", memory.runtime},
          {"kv_block_bytes", memory.block},         {"output_cache_bytes_per_sequence", memory.fixed_per_sequence},
          {"num_kv_blocks", memory.num_blocks},     {"kv_bytes", memory.kv()}};
}

}  // namespace

ServingOutcome run_serving(const ServingRequest& request, bool timeline) {
  ServingOutcome outcome;
  outcome.resolved = resolve(request);
  outcome.resolved.options.timeline = timeline;
  const ResolvedServing& resolved = outcome.resolved;
  outcome.run = simulate_serving(resolved.config, resolved.simulation.gpu, resolved.workload, resolved.options);
  outcome.metrics = serving_metrics(outcome.run, resolved.slo,
                                    resolved.config.num_replicas * resolved.config.decode.tensor_parallel_size);
  return outcome;
}

Json serving_inputs_json(const ResolvedServing& resolved) {
  Json json = inputs_json(resolved.simulation);
  for (const char* key : {"pages_selected", "num_pages", "context", "batch", "steps"}) json.erase(key);
  const ServingConfig& config = resolved.config;
  json["replicas"] = config.num_replicas;
  json["routing"] = name_of(config.routing);
  json["max_num_seqs"] = config.max_num_seqs;
  json["max_num_batched_tokens"] = config.max_num_batched_tokens;
  json["max_model_len"] = config.context_limit();
  json["admit_partial_prompts"] = !config.reserve_full_prompt;
  if (config.async_scheduling) json["async_scheduling"] = true;
  if (config.cudagraph_padding) json["cudagraph_padding"] = true;
  if (config.prefix_caching) json["enable_prefix_caching"] = true;
  json["gpu_memory_utilization"] = config.gpu_memory_utilization;
  json["num_gpu_blocks_override"] = config.num_blocks_override ? Json(*config.num_blocks_override) : Json(nullptr);
  json["step_overhead_us"] = config.step_overhead_s * 1e6;
  json["workload"] = resolved.workload.description;
  json["num_requests"] = resolved.workload.requests.size();
  json["skipped_unanswered_rows"] = resolved.workload.skipped_unanswered;
  json["max_concurrency"] = resolved.options.closed_loop_clients;
  json["seed"] = resolved.seed;
  json["unseen_visits_per_page"] = config.unseen.visits;
  json["unseen_union_per_page"] = config.unseen.in_union;
  json["unseen_source"] = resolved.unseen_source;
  json["slo"] = {{"ttft_ms", optional_ms(resolved.slo.ttft_s)},
                 {"tpot_ms", optional_ms(resolved.slo.tpot_s)},
                 {"e2e_ms", optional_ms(resolved.slo.e2e_s)}};
  return json;
}

Json serving_metrics_json(const ServingMetrics& metrics) {
  Json json;
  add_latency(json, "ttft", metrics.ttft);
  add_latency(json, "tpot", metrics.tpot);
  add_latency(json, "itl", metrics.itl);
  add_latency(json, "e2e", metrics.e2e);
  add_latency(json, "queue", metrics.queue);
  json["makespan_s"] = metrics.makespan_s;
  json["requests_per_s"] = metrics.requests_per_s;
  json["output_tokens_per_s"] = metrics.output_tokens_per_s;
  json["total_tokens_per_s"] = metrics.total_tokens_per_s;
  json["output_tokens_per_s_per_gpu"] = metrics.output_tokens_per_s_per_gpu;
  json["output_tokens_per_s_per_user"] = metrics.output_tokens_per_s_per_user;
  json["decode_batch_mean"] = metrics.decode_batch_mean;
  json["goodput_requests_per_s"] = metrics.goodput_requests_per_s;
  json["slo_attainment"] = metrics.slo_attainment;
  return json;
}

namespace {

Json prefix_cache_json(const ServingOutcome& outcome) {
  const ServingMetrics& m = outcome.metrics;
  return {{"hit_rate", m.prefix_cache_hit_rate},
          {"cached_prompt_tokens", m.cached_tokens},
          {"requests_with_hits", m.requests_with_hits},
          {"ttft_ms_mean_with_hits", m.requests_with_hits > 0 ? Json(m.ttft_with_hits_mean_s * 1e3) : Json(nullptr)},
          {"ttft_ms_mean_without_hits",
           m.finished > m.requests_with_hits ? Json(m.ttft_without_hits_mean_s * 1e3) : Json(nullptr)},
          {"spared_tokens", outcome.run.totals.cached_tokens},
          {"evicted_blocks", outcome.run.evicted_blocks}};
}

}  // namespace

Json serving_json(const ServingOutcome& outcome) {
  const ServingTotals& totals = outcome.run.totals;
  const ServingMetrics& metrics = outcome.metrics;
  Json not_modelled{"prefix caching", "speculative decoding", "imbalance of contexts within a batch",
                    "tokenisation and the server's own queues"};
  if (outcome.resolved.config.prefix_caching) not_modelled.erase(0);
  Json json{{"schema", "retrosim.serve/1"},
            {"inputs", serving_inputs_json(outcome.resolved)},
            {"metrics", serving_metrics_json(metrics)},
            {"requests",
             {{"finished", metrics.finished},
              {"rejected_longer_than_max_model_len", metrics.rejected_too_long},
              {"rejected_more_kv_blocks_than_exist", metrics.rejected_too_big},
              {"preempted_at_least_once", metrics.preempted_requests},
              {"preemptions", totals.preemptions}}},
            {"steps",
             {{"count", totals.steps},
              {"with_prompt_tokens", totals.prefill_steps},
              {"prompt_tokens", totals.prompt_tokens},
              {"generated_tokens", totals.generated_tokens},
              {"max_running_sequences", totals.max_running}}},
            {"gpu_memory", memory_of_replica_json(outcome.run.memory)},
            {"step_latency_model",
             {{"mode", outcome.resolved.config.exact_steps ? "exact" : "interpolated"},
              {"steps_compared_with_exact", outcome.run.audit.steps},
              {"mean_abs_error", outcome.run.audit.mean_abs_error},
              {"max_abs_error", outcome.run.audit.max_abs_error}}},
            {"not_modelled", std::move(not_modelled)}};
  if (outcome.resolved.config.prefix_caching) json["prefix_cache"] = prefix_cache_json(outcome);
  return json;
}

std::string serving_text(const ServingOutcome& outcome) {
  const ServingMetrics& m = outcome.metrics;
  Table table({"ms", "mean", "p50", "p90", "p95", "p99"});
  const auto add = [&](const char* name, const LatencySummary& s) {
    table.add({name, fixed(s.mean_s * 1e3, 2), fixed(s.p50_s * 1e3, 2), fixed(s.p90_s * 1e3, 2),
               fixed(s.p95_s * 1e3, 2), fixed(s.p99_s * 1e3, 2)});
  };
  add("TTFT", m.ttft);
  add("TPOT", m.tpot);
  add("ITL", m.itl);
  add("E2E", m.e2e);
  add("queue", m.queue);
  std::string text = outcome.resolved.workload.description + "\n\n" + table.to_text() + "\n";
  text += "finished " + std::to_string(m.finished) + ", rejected " +
          std::to_string(m.rejected_too_long + m.rejected_too_big) + ", preemptions " +
          std::to_string(outcome.run.totals.preemptions) + ", mean decode batch " + fixed(m.decode_batch_mean, 1) +
          "\n";
  if (outcome.resolved.config.prefix_caching) {
    text += "prefix cache: " + fixed(m.prefix_cache_hit_rate * 100, 1) + " % of the prompt tokens were there, " +
            std::to_string(m.requests_with_hits) + " requests hit, " + std::to_string(outcome.run.evicted_blocks) +
            " blocks evicted\n";
  }
  text += fixed(m.requests_per_s, 3) + " requests/s, " + fixed(m.output_tokens_per_s, 1) + " output tokens/s, " +
          fixed(m.output_tokens_per_s_per_gpu, 1) + " per GPU, " + fixed(m.output_tokens_per_s_per_user, 1) +
          " per user; goodput " + fixed(m.goodput_requests_per_s, 3) + " requests/s\n";
  return text;
}

std::string requests_csv(const ServingOutcome& outcome) {
  const ServingRun& run = outcome.run;
  const Workload& workload = outcome.resolved.workload;
  const bool sessions = workload.sessions > 0;
  const bool prefixes = outcome.resolved.config.prefix_caching;
  std::vector<std::string> header{"request_id", "outcome", "input_tokens", "output_tokens", "arrival_s", "queue_ms",
                                  "ttft_ms",    "tpot_ms", "latency_ms",   "preemptions",   "replica"};
  if (prefixes) header.emplace_back("cached_tokens");
  if (sessions) header.insert(header.end(), {"session", "turn"});
  Table table(header);
  int turn = 0;
  for (std::size_t i = 0; i < run.requests.size(); ++i) {
    const RequestRecord& r = run.requests[i];
    const bool done = r.outcome == RequestOutcome::finished;
    const auto ms = [&](double seconds) { return done ? fixed(seconds * 1e3, 6) : std::string(); };
    std::vector<std::string> row{std::to_string(i),
                                 describe(r.outcome),
                                 std::to_string(r.input_tokens),
                                 std::to_string(r.output_tokens),
                                 fixed(seconds_from_ps(r.arrival), 6),
                                 ms(r.queue_s()),
                                 ms(r.ttft_s()),
                                 ms(r.tpot_s()),
                                 ms(r.e2e_s()),
                                 std::to_string(r.preemptions),
                                 std::to_string(r.replica)};
    if (prefixes) row.push_back(std::to_string(r.cached_tokens));
    if (sessions) {
      turn = workload.requests[i].previous < 0 ? 0 : turn + 1;
      row.insert(row.end(), {std::to_string(workload.requests[i].session), std::to_string(turn)});
    }
    table.add(std::move(row));
  }
  return table.to_csv();
}

std::string seconds_csv(const ServingOutcome& outcome) {
  const bool prefixes = outcome.resolved.config.prefix_caching;
  std::vector<std::string> header{"t_s",     "arrivals", "finished",      "prompt_tokens", "generated_tokens",
                                  "running", "waiting",  "kv_blocks_used"};
  if (prefixes) header.emplace_back("kv_blocks_cached");
  Table table(header);
  for (std::size_t i = 0; i < outcome.run.seconds.size(); ++i) {
    const SecondRecord& s = outcome.run.seconds[i];
    std::vector<std::string> row{std::to_string(i),
                                 std::to_string(s.arrivals),
                                 std::to_string(s.finished),
                                 std::to_string(s.prompt_tokens),
                                 std::to_string(s.generated_tokens),
                                 std::to_string(s.running),
                                 std::to_string(s.waiting),
                                 std::to_string(s.kv_blocks_used)};
    if (prefixes) row.push_back(std::to_string(s.kv_blocks_cached));
    table.add(std::move(row));
  }
  return table.to_csv();
}

}  // namespace retrosim
