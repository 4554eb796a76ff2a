#include "reports/serving_validation.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>

#include "calibrate/csv_rows.h"
#include "model/error.h"
#include "reports/format.h"
#include "reports/table.h"
#include "sim/percentile.h"
#include "sim/workload/trace_file.h"

namespace retrosim {
namespace {

constexpr double kSaturatedTtftMs = 5000;

template <typename Figure>
double mean_over(std::size_t count, Figure figure) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += figure(i);
  return sum / static_cast<double>(count);
}

Json compared(double predicted, double measured) {
  return {{"predicted", predicted}, {"measured", measured}, {"error", predicted / measured - 1}};
}

/// "meta-llama/Llama-3.1-8B-Instruct" -> "llama-3.1-8b": the bundled spec of the same shape.
std::string bundled_llm_of(const std::string& model) {
  std::string name = model.substr(model.rfind('/') + 1);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const std::string_view tuned : {"-instruct", "-fp8"}) {
    if (name.ends_with(tuned)) name.resize(name.size() - tuned.size());
  }
  const std::vector<std::string> names = bundled_llm_names();
  return std::find(names.begin(), names.end(), name) != names.end() ? name : "";
}

/// "h100_sxm" -> "h100-sxm".
std::string bundled_gpu_of(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  const std::vector<std::string> names = bundled_gpu_names();
  return std::find(names.begin(), names.end(), name) != names.end() ? name : "";
}

Json error_json(const std::vector<double>& errors) {
  if (errors.empty()) return {{"rows", 0}};
  std::vector<double> absolute;
  double bias = 0;
  for (const double error : errors) {
    absolute.push_back(std::abs(error));
    bias += error / static_cast<double>(errors.size());
  }
  return {{"rows", errors.size()},
          {"median_abs_error", percentile(absolute, 0.5)},
          {"p90_abs_error", percentile(absolute, 0.9)},
          {"mean_error", bias}};
}

}  // namespace

RequestsValidation validate_requests(ServingRequest request, const std::string& measured_csv) {
  RequestsValidation validation;
  validation.table = measured_csv;
  struct Row {
    Request request;
    std::string id;
    RequestsValidation::Measured measured;
  };
  std::vector<Row> rows;
  CsvRows table(measured_csv);
  while (table.next()) {
    const auto server = [&](const char* column, std::int64_t& value) {
      const std::int64_t here = table.integer(column);
      if (!rows.empty() && here != value) {
        throw InputError(table.where(), column, std::to_string(here), std::to_string(value) + " as in the rows before");
      }
      value = here;
    };
    std::int64_t tp = request.simulation.tensor_parallel_size;
    std::int64_t dp = request.replicas;
    std::int64_t seqs = request.max_num_seqs;
    server("tp", tp);
    server("dp", dp);
    server("max_num_seqs", seqs);
    server("max_num_batched_tokens", request.max_num_batched_tokens);
    request.simulation.tensor_parallel_size = static_cast<int>(tp);
    request.replicas = static_cast<int>(dp);
    request.max_num_seqs = static_cast<int>(seqs);
    rows.push_back({.request = {.arrival = ps_from_seconds(table.number("arrival_s")),
                                .input_tokens = static_cast<std::int32_t>(table.integer("input_tokens")),
                                .output_tokens = static_cast<std::int32_t>(table.integer("output_tokens"))},
                    .id = table.text("request_id"),
                    .measured = {table.number("queue_ms"), table.positive("ttft_ms"), table.number("tpot_ms"),
                                 table.positive("latency_ms")}});
  }
  if (rows.empty()) throw InputError(measured_csv, "", "no rows", "at least one request");
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.request.arrival < b.request.arrival; });

  // The workload is the table's, not the request's.
  request.workload.num_requests = 1;
  validation.outcome.resolved = resolve(request);
  ResolvedServing& resolved = validation.outcome.resolved;
  resolved.workload = {};
  resolved.workload.description = std::to_string(rows.size()) + " requests of " + measured_csv;
  for (const Row& row : rows) {
    resolved.workload.requests.push_back(row.request);
    validation.request_ids.push_back(row.id);
    validation.measured.push_back(row.measured);
  }
  validation.outcome.run = simulate_serving(resolved.config, resolved.simulation.gpu, resolved.workload);
  validation.outcome.metrics =
      serving_metrics(validation.outcome.run, {}, request.replicas * request.simulation.tensor_parallel_size);
  if (validation.outcome.metrics.finished != static_cast<std::int64_t>(rows.size())) {
    throw InfeasibleError(measured_csv + ": the simulated server rejects requests that the measured one served");
  }
  return validation;
}

Json requests_validation_json(const RequestsValidation& validation) {
  const std::vector<RequestRecord>& requests = validation.outcome.run.requests;
  const auto& measured = validation.measured;
  const std::size_t n = requests.size();
  double tokens = 0;
  double last_measured_s = 0;
  for (std::size_t i = 0; i < n; ++i) {
    tokens += requests[i].output_tokens;
    last_measured_s = std::max(last_measured_s, seconds_from_ps(requests[i].arrival) + measured[i].latency_ms / 1e3);
  }
  const double measured_makespan_s = last_measured_s - seconds_from_ps(requests.front().arrival);
  const Json throughput = compared(validation.outcome.metrics.output_tokens_per_s, tokens / measured_makespan_s);
  const Json tpot = compared(mean_over(n, [&](std::size_t i) { return requests[i].tpot_s() * 1e3; }),
                             mean_over(n, [&](std::size_t i) { return measured[i].tpot_ms; }));
  const Json ttft =
      compared(mean_over(n, [&](std::size_t i) { return (requests[i].ttft_s() - requests[i].queue_s()) * 1e3; }),
               mean_over(n, [&](std::size_t i) { return measured[i].ttft_ms - measured[i].queue_ms; }));
  const Json e2e = compared(mean_over(n, [&](std::size_t i) { return requests[i].e2e_s() * 1e3; }),
                            mean_over(n, [&](std::size_t i) { return measured[i].latency_ms; }));
  const Json queue = compared(mean_over(n, [&](std::size_t i) { return requests[i].queue_s() * 1e3; }),
                              mean_over(n, [&](std::size_t i) { return measured[i].queue_ms; }));
  Json serve = serving_json(validation.outcome);
  serve.erase("schema");
  return {{"schema", "retrosim.validate-requests/1"},
          {"measured", validation.table},
          {"rows", n},
          {"throughput_error", throughput["error"]},
          {"tpot_error", tpot["error"]},
          {"ttft_minus_queue_error", ttft["error"]},
          {"e2e_error", e2e["error"]},
          {"output_tokens_per_s", throughput},
          {"tpot_ms_mean", tpot},
          {"ttft_minus_queue_ms_mean", ttft},
          {"queue_ms_mean", queue},
          {"e2e_ms_mean", e2e},
          {"makespan_s", compared(validation.outcome.metrics.makespan_s, measured_makespan_s)},
          {"simulation", serve}};
}

std::string requests_validation_csv(const RequestsValidation& validation) {
  Table table({"request_id", "input_tokens", "output_tokens", "arrival_s", "measured_queue_ms", "predicted_queue_ms",
               "measured_ttft_ms", "predicted_ttft_ms", "measured_tpot_ms", "predicted_tpot_ms", "measured_latency_ms",
               "predicted_latency_ms", "predicted_preemptions"});
  for (std::size_t i = 0; i < validation.measured.size(); ++i) {
    const RequestRecord& r = validation.outcome.run.requests[i];
    const RequestsValidation::Measured& m = validation.measured[i];
    const auto ms = [](double value) { return fixed(value, 3); };
    table.add({validation.request_ids[i], std::to_string(r.input_tokens), std::to_string(r.output_tokens),
               fixed(seconds_from_ps(r.arrival), 6), ms(m.queue_ms), ms(r.queue_s() * 1e3), ms(m.ttft_ms),
               ms(r.ttft_s() * 1e3), ms(m.tpot_ms), ms(r.tpot_s() * 1e3), ms(m.latency_ms), ms(r.e2e_s() * 1e3),
               std::to_string(r.preemptions)});
  }
  return table.to_csv();
}

namespace {

/// Simulates one row; returns why it was left out, or nothing.
std::string simulate_row(const ServingRequest& settings, const CsvRows& table, int rounds, ServingRow& row,
                         std::map<std::string, std::string>& profiles) {
  const std::string llm = bundled_llm_of(table.text("model"));
  const std::string gpu = bundled_gpu_of(row.gpu);
  if (llm.empty()) return "no bundled model of this shape";
  if (gpu.empty()) return "no bundled GPU of this name";
  if (!row.precision.empty() && row.precision != "fp8" && row.precision != "bf16") return "precision not modelled";
  if (table.has("pp") && table.integer("pp") != 1) return "pipeline parallelism is not modelled";
  if (row.measured_ttft_ms > kSaturatedTtftMs) return "saturated: TTFT above 5 s";
  const std::int64_t concurrency = table.integer("concurrency");
  const std::string input = table.text("input_tokens");
  const std::string output = table.text("output_tokens");

  ServingRequest request = settings;
  request.simulation.llm = llm;
  request.simulation.gpu = gpu;
  request.simulation.policy = "full";
  request.simulation.tensor_parallel_size = static_cast<int>(table.integer("tp"));
  request.workload.input_len = input;
  request.workload.output_len = output;
  request.workload.max_concurrency = concurrency;
  request.workload.num_requests = concurrency * rounds;
  request.max_num_seqs = static_cast<int>(std::max<std::int64_t>(request.max_num_seqs, concurrency));
  ResolvedServing resolved = resolve(request);
  if (row.precision == "fp8") resolved.config.decode.llm.weight_dtype = DType::fp8_e4m3;
  profiles[row.gpu] = resolved.simulation.gpu.provenance;
  const KvBlocks blocks(resolved.config, resolved.simulation.gpu.spec);
  const std::int64_t longest = table.integer("input_tokens") + table.integer("output_tokens");
  if (concurrency * blocks.needed(longest) > blocks.total())
    return "saturated: the KV cache of all clients exceeds memory";
  resolved.options.audited_steps = 0;
  const ServingRun run =
      simulate_serving(resolved.config, resolved.simulation.gpu, resolved.workload, resolved.options);
  const ServingMetrics metrics = serving_metrics(run, {}, 1);
  row.predicted_ttft_ms = metrics.ttft.mean_s * 1e3;
  row.predicted_tpot_ms = metrics.tpot.mean_s * 1e3;
  return "";
}

}  // namespace

ServingValidation validate_serving(const ServingRequest& settings, const std::string& measured_csv, int rounds) {
  if (rounds < 1 || rounds > 1000) throw InputError("", "--rounds", std::to_string(rounds), "in [1, 1000]");
  ServingValidation validation{
      .table = measured_csv, .header = {}, .rows = {}, .profiles = {}, .settings = settings, .rounds = rounds};
  CsvRows table(measured_csv);
  for (const std::string& column : table.header()) validation.header += column + ",";
  while (table.next()) {
    ServingRow row{.cells = table.cells(),
                   .gpu = table.text("gpu"),
                   .backend = table.text("backend"),
                   .precision = table.text("precision"),
                   .measured_ttft_ms = table.positive("ttft_ms"),
                   .measured_tpot_ms = table.positive("tpot_ms"),
                   .left_out = {}};
    row.left_out = simulate_row(settings, table, rounds, row, validation.profiles);
    validation.rows.push_back(std::move(row));
  }
  if (validation.rows.empty()) throw InputError(measured_csv, "", "no rows", "at least one");
  return validation;
}

Json serving_validation_json(const ServingValidation& validation) {
  std::vector<double> all;
  std::map<std::string, std::vector<double>> groups;
  std::map<std::string, std::int64_t> left_out;
  for (const ServingRow& row : validation.rows) {
    if (!row.left_out.empty()) {
      ++left_out[row.left_out];
      continue;
    }
    all.push_back(row.tpot_error());
    groups[row.gpu + "/" + row.backend + "/" + (row.precision.empty() ? "bf16" : row.precision)].push_back(all.back());
  }
  Json document{{"schema", "retrosim.validate-serving/1"},
                {"measured", validation.table},
                {"rows", validation.rows.size()},
                {"mapped", all.size()},
                {"median_abs_error", nullptr},
                {"p90_abs_error", nullptr}};
  const Json total = error_json(all);
  for (const char* key : {"median_abs_error", "p90_abs_error", "mean_error"}) {
    if (total.contains(key)) document[key] = total[key];
  }
  Json by = Json::object();
  for (const auto& [name, errors] : groups) by[name] = error_json(errors);
  Json out = Json::object();
  for (const auto& [reason, rows] : left_out) out[reason] = rows;
  Json profiles = Json::object();
  for (const auto& [gpu, provenance] : validation.profiles) profiles[gpu] = provenance;
  document["by_gpu_backend_precision"] = by;
  document["left_out"] = out;
  document["inputs"] = {{"requests_per_client", validation.rounds},
                        {"max_num_batched_tokens", validation.settings.max_num_batched_tokens},
                        {"max_num_seqs", validation.settings.max_num_seqs},
                        {"step_overhead_us", validation.settings.step_overhead_us},
                        {"gpu_memory_utilization", validation.settings.gpu_memory_utilization},
                        {"profiles", profiles}};
  return document;
}

std::string serving_validation_csv(const ServingValidation& validation) {
  std::string text = validation.header + "predicted_ttft_ms,predicted_tpot_ms,tpot_error,left_out\n";
  for (const ServingRow& row : validation.rows) {
    for (const std::string& cell : row.cells) text += cell + ",";
    if (row.left_out.empty()) {
      text +=
          fixed(row.predicted_ttft_ms, 4) + "," + fixed(row.predicted_tpot_ms, 5) + "," + fixed(row.tpot_error(), 5);
    } else {
      text += ",,";
    }
    text += "," + row.left_out + "\n";
  }
  return text;
}

}  // namespace retrosim
