#include "reports/trace_info.h"

#include "reports/format.h"
#include "traces/statistics_json.h"

namespace retrosim {
namespace {

std::string layers_text(const TraceHeader& header) {
  std::string text = std::to_string(header.recorded_layers.size()) + " of " + std::to_string(header.num_layers) + " (";
  for (std::size_t i = 0; i < header.recorded_layers.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(header.recorded_layers[i]);
  }
  return text + ")";
}

}  // namespace

Json trace_info_document(const TraceReader& trace) {
  Json json{{"schema", "retrosim.trace_info/1"}, {"file", trace.origin()}};
  json.update(trace_info_json(trace));
  return json;
}

std::string trace_info_text(const TraceReader& trace) {
  trace.verify();
  const TraceHeader& header = trace.header();
  std::string text;
  const auto line = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) text += name + std::string(name.size() < 18 ? 18 - name.size() : 1, ' ') + value + "\n";
  };
  line("file", trace.origin() + ", " + format_bytes(static_cast<double>(trace.file_bytes())) +
                   (trace.truncated() ? ", cut off" : ", whole"));
  line("synthetic", header.synthetic);
  line("model", header.model_name);
  line("layers recorded", layers_text(header));
  line("heads", std::to_string(header.num_q_heads) + " query, " + std::to_string(header.num_kv_heads) + " KV, size " +
                    std::to_string(header.head_dim));
  line("steps", std::to_string(trace.num_steps()) + " in " + std::to_string(trace.num_chunks()) + " chunks");
  line("context", std::to_string(header.first_position + 1) + " to " +
                      std::to_string(header.first_position + trace.num_steps()) + " tokens");
  line("page size", std::to_string(header.page_size) + " tokens");
  line("pages ranked", header.top_m == 0 ? "all" : "the best " + std::to_string(header.top_m));
  line("scoring", header.scoring_rule + ", query group by " + header.group_reduction);
  line("recorded under", header.recorded_policy);
  line("workload", header.workload);
  line("tokens", header.tokens_hash);
  line("checkpoint", header.checkpoint_hash);
  line("written by", header.tool_version);
  return text;
}

std::string truncation_warning(const TraceReader& trace) {
  if (!trace.truncated()) return "";
  return trace.origin() + ": the trace is cut off; read " + std::to_string(trace.num_steps()) +
         " steps, up to its last whole chunk";
}

}  // namespace retrosim
