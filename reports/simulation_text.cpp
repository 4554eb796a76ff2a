#include "reports/simulation_text.h"

#include <functional>

#include "reports/format.h"
#include "reports/op_breakdown.h"
#include "reports/simulation_json.h"

namespace retrosim {
namespace {

std::string heading(const SimulationRun& run) {
  const DecodeConfig& config = run.resolved.config;
  std::string text = config.llm.name + " on " + run.resolved.gpu.spec.name;
  if (config.tensor_parallel_size > 1) text += " x" + std::to_string(config.tensor_parallel_size);
  text += ": context " + std::to_string(config.context) + ", batch " + std::to_string(config.batch) + ", " +
          std::string(name_of(config.kv_dtype)) + " KV cache\n";
  text += variant_name(config) + ": " +
          std::to_string(config.policy->pages_selected(config.num_pages(), config.page_size)) + " of " +
          std::to_string(config.num_pages()) + " pages of " + std::to_string(config.page_size) + " tokens";
  if (config.policy->name() != "full") text += ", first " + std::to_string(config.dense_layers) + " layers dense";
  text += ", " + std::to_string(run.resolved.steps) + " steps\n";
  const PolicyEvidence evidence = config.policy->evidence();
  return text + "selection: " + (evidence.evaluated ? "" : "modelled: ") + std::string(evidence.note) + "\n";
}

std::string trace_lines(const SimulationRun& run) {
  if (!run.trace) return "";
  const TraceMapping& mapping = run.trace->mapping;
  std::string text = "trace: " + trace_label(run.resolved) + (mapping.exact ? ", of this very shape" : "") +
                     (mapping.synthetic.empty() ? "" : " (" + mapping.synthetic + ")") + "\n";
  if (mapping.exact) return text;
  for (const auto& [what, rule] : {std::pair{"layers", mapping.layers},
                                   {"heads", mapping.heads},
                                   {"context", mapping.context},
                                   {"page size", mapping.page_size},
                                   {"batch", mapping.batch}}) {
    if (!rule.empty()) text += std::string("  ") + what + ": " + rule + "\n";
  }
  return text;
}

std::string provenance_line(const SimulationRun& run) {
  std::string text = "latency by provenance:";
  const char* separator = " ";
  for (const auto& [name, share] : provenance_shares(group_operations(run.result.ops))) {
    text += separator + fixed(100.0 * share, 1) + " % " + name;
    separator = ", ";
  }
  return text + "\n";
}

std::string memory_line(const GpuMemoryUse& memory) {
  const auto bytes = [](std::int64_t value) { return format_bytes(static_cast<double>(value)); };
  return "GPU memory: " + bytes(memory.needed_bytes()) + " of " + bytes(memory.capacity_bytes) + " (weights " +
         bytes(memory.weight_bytes) + ", KV " + bytes(memory.kv_bytes) + ", page summaries " +
         bytes(memory.policy_metadata_bytes) + ", output cache " + bytes(memory.output_cache_bytes) + ")" +
         (memory.fits() ? "" : ": does not fit") + "\n";
}

}  // namespace

Table comparison_table(const SimulationRun& run) {
  const DecodeConfig& config = run.resolved.config;
  // With a window, the change is what the window costs; without one, what the policy saves.
  const bool windowed = config.window > 1;
  std::vector<std::string> header = {"per step and GPU", "full", variant_name(config), windowed ? "change" : "vs full"};
  if (windowed) header.insert(header.begin() + 2, variant_name(without_window(config)));
  Table table(header);
  const auto add_row = [&](const std::string& name, double full, double single, double asked,
                           const std::function<std::string(double)>& format) {
    std::vector<std::string> row = {name, format(full), format(asked), format_change(asked, windowed ? single : full)};
    if (windowed) row.insert(row.begin() + 2, format(single));
    table.add(std::move(row));
  };
  using Get = double StepSummary::*;
  const auto add = [&](const char* name, Get get, const std::function<std::string(double)>& format) {
    add_row(name, run.full.step.*get, run.without_retro.step.*get, run.result.step.*get, format);
  };
  const auto count = [](double value) { return fixed(value, 1); };
  add("latency, mean", &StepSummary::latency_us_mean, format_latency_us);
  add("latency, p99", &StepSummary::latency_us_p99, format_latency_us);
  add("KV read", &StepSummary::kv_read_bytes, format_bytes);
  add("page summaries read", &StepSummary::summary_read_bytes, format_bytes);
  add("weights read", &StepSummary::weight_read_bytes, format_bytes);
  add("output cache read", &StepSummary::output_cache_read_bytes, format_bytes);
  add("other read", &StepSummary::other_read_bytes, format_bytes);
  add("HBM read", &StepSummary::hbm_read_bytes, format_bytes);
  add("KV written", &StepSummary::kv_write_bytes, format_bytes);
  add("HBM written", &StepSummary::hbm_write_bytes, format_bytes);
  add("arithmetic", &StepSummary::flops, format_flops);
  add("unseen pages per layer and KV head", &StepSummary::unseen_pages_mean, count);
  if (run.result.step.host_to_device_bytes > 0) {
    add("recalled pages per layer and KV head", &StepSummary::recalled_pages_mean, count);
    add("PCIe, host to GPU", &StepSummary::host_to_device_bytes, format_bytes);
    add("PCIe, GPU to host", &StepSummary::device_to_host_bytes, format_bytes);
    add("host memory", &StepSummary::host_memory_bytes, format_bytes);
  }
  if (run.trace) {
    add_row("attention mass recalled", 1.0, run.trace->mass_recall_mean, run.trace->mass_recall_retro_mean,
            [](double share) { return fixed(share, 3); });
  }
  return table;
}

Table operations_table(const SimulationResult& result) {
  Table table({"operation", "bound by", "provenance", "launches", "latency", "HBM", "arithmetic"}, 3);
  for (const OpGroup& group : group_operations(result.ops)) {
    table.add({group.name, group.main_bound(), group.worst_provenance(), std::to_string(group.launches),
               format_latency_us(group.latency_us), format_bytes(group.hbm_bytes), format_flops(group.flops)});
  }
  return table;
}

std::string simulation_text(const SimulationRun& run) {
  return heading(run) + "\n" + comparison_table(run).to_text() + "\nwhere the first step's time goes\n" +
         operations_table(run.result).to_text() + "\n" + provenance_line(run) + memory_line(run.memory) +
         trace_lines(run) + "profile " + run.resolved.gpu.name + ": " + run.resolved.gpu.provenance + "\n";
}

}  // namespace retrosim
