#include "traces/trace_header.h"

#include <algorithm>

#include "model/error.h"
#include "model/json_reader.h"

namespace retrosim {
namespace {

constexpr std::string_view kSchema = "retrosim.rtrace/1";

}  // namespace

int TraceHeader::slot_of_layer(int layer) const {
  const auto found = std::lower_bound(recorded_layers.begin(), recorded_layers.end(), layer);
  return found != recorded_layers.end() && *found == layer ? static_cast<int>(found - recorded_layers.begin()) : -1;
}

nlohmann::ordered_json to_json(const TraceHeader& header) {
  nlohmann::ordered_json json;
  json["schema"] = kSchema;
  json["tool_version"] = header.tool_version;
  json["model_name"] = header.model_name;
  json["config_hash"] = header.config_hash;
  json["checkpoint_hash"] = header.checkpoint_hash;
  json["num_layers"] = header.num_layers;
  json["recorded_layers"] = header.recorded_layers;
  json["num_q_heads"] = header.num_q_heads;
  json["num_kv_heads"] = header.num_kv_heads;
  json["head_dim"] = header.head_dim;
  json["page_size_tokens"] = header.page_size;
  json["top_m_pages"] = header.top_m;
  json["scoring_rule"] = header.scoring_rule;
  json["group_reduction"] = header.group_reduction;
  json["recorded_policy"] = header.recorded_policy;
  json["num_tokens"] = header.num_tokens;
  json["prompt_tokens"] = header.prompt_tokens;
  json["tokens_hash"] = header.tokens_hash;
  json["prompt_hash"] = header.prompt_hash;
  json["first_position"] = header.first_position;
  json["workload"] = header.workload;
  json["mass_scale"] = header.mass_scale;
  if (!header.synthetic.empty()) json["synthetic"] = header.synthetic;
  return json;
}

TraceHeader parse_trace_header(std::string_view json_text, const std::string& origin) {
  const nlohmann::json json = parse_json(json_text, origin);
  if (!json.is_object()) throw InputError(origin, "header", json.type_name(), "a JSON object");
  const JsonReader reader(json, origin);
  if (reader.string("schema") != kSchema) reader.fail("schema", kSchema);
  TraceHeader header;
  header.tool_version = reader.string("tool_version");
  header.model_name = reader.string("model_name");
  header.config_hash = reader.string("config_hash");
  header.checkpoint_hash = reader.string("checkpoint_hash");
  header.num_layers = static_cast<int>(reader.integer("num_layers", 1, kMaxTraceLayers));
  for (const std::int64_t layer : reader.integers("recorded_layers", 0, header.num_layers - 1)) {
    header.recorded_layers.push_back(static_cast<int>(layer));
  }
  header.num_q_heads = static_cast<int>(reader.integer("num_q_heads", 1, kMaxTraceHeads));
  header.num_kv_heads = static_cast<int>(reader.integer("num_kv_heads", 1, kMaxTraceHeads));
  header.head_dim = static_cast<int>(reader.integer("head_dim", 1, 65536));
  header.page_size = static_cast<int>(reader.integer("page_size_tokens", 1, 1024));
  header.top_m = reader.integer("top_m_pages", 0, kMaxTracePosition + 1);
  header.scoring_rule = reader.string("scoring_rule");
  header.group_reduction = reader.string("group_reduction");
  header.recorded_policy = reader.string("recorded_policy");
  header.num_tokens = reader.integer("num_tokens", 1, kMaxTracePosition + 1);
  header.prompt_tokens = reader.integer("prompt_tokens", 0, header.num_tokens);
  header.tokens_hash = reader.string("tokens_hash");
  header.prompt_hash = reader.string("prompt_hash");
  header.first_position = reader.integer("first_position", 0, header.num_tokens - 1);
  header.workload = reader.string("workload");
  header.mass_scale = reader.string("mass_scale");
  header.synthetic = reader.string_or("synthetic", "");
  reader.finish();

  if (!MassScale::knows(header.mass_scale)) {
    reader.fail("mass_scale", std::string(kMassScaleName) + " or " + std::string(kOlderMassScaleName));
  }
  const bool ascending = std::adjacent_find(header.recorded_layers.begin(), header.recorded_layers.end(),
                                            std::greater_equal<>()) == header.recorded_layers.end();
  if (header.recorded_layers.empty() || !ascending) reader.fail("recorded_layers", "ascending layers, at least one");
  if (header.num_q_heads % header.num_kv_heads != 0) reader.fail("num_q_heads", "a multiple of num_kv_heads");
  return header;
}

}  // namespace retrosim
