#include "calibrate/live/live_config.h"

#include <algorithm>

#include "model/error.h"

namespace retrosim {
namespace {

LiveSelection parse_selection(const JsonReader& reader, std::string_view key) {
  const std::string text = reader.string_or(key, "scores");
  for (const LiveSelection selection : {LiveSelection::scores, LiveSelection::drift, LiveSelection::trace}) {
    if (text == name_of(selection)) return selection;
  }
  reader.fail(key, "scores, drift or trace");
}

/// The first `layers` of a model.
void keep_layers(LlmSpec& llm, int layers) {
  if (layers < 0 || layers > llm.num_layers) {
    throw InputError("", "layers", std::to_string(layers), "0 (all) to " + std::to_string(llm.num_layers));
  }
  if (layers == 0) return;
  llm.num_layers = layers;
  const auto count = static_cast<std::size_t>(layers);
  if (llm.layer_sliding_window.size() > count) llm.layer_sliding_window.resize(count);
  if (llm.layer_is_moe.size() > count) llm.layer_is_moe.resize(count);
}

}  // namespace

std::string_view name_of(LiveSelection selection) {
  switch (selection) {
    case LiveSelection::scores: return "scores";
    case LiveSelection::drift: return "drift";
    case LiveSelection::trace: return "trace";
  }
  return "unknown";
}

DecodeConfig decode_config(const LiveConfig& live, int sm_count) {
  DecodeConfig config;
  config.llm = find_llm_spec(live.llm);
  keep_layers(config.llm, live.layers);
  if (live.kv_dtype == DType::f32) config.llm.weight_dtype = DType::f32;
  config.policy = make_policy(live.policy, {.budget = live.budget});
  config.window = live.window;
  config.batch = live.batch;
  config.context = live.context;
  config.page_size = live.page_size;
  config.dense_layers = std::min(live.dense_layers, config.llm.num_layers);
  config.sm_count = sm_count;
  config.kv_dtype = live.kv_dtype;
  config.merges_in_attention = live.merges_in_attention;
  config.few_row_products = true;
  validate(config);
  return config;
}

StepDemand graph_demand(const DecodeConfig& config, std::int64_t context) {
  DecodeConfig at = config;
  at.context = context;
  StepDemand demand = demand_without_unseen(at);
  demand.position = 0;  // a step in which a policy that reuses its selections makes them
  for (LayerDemand& layer : demand.layers) {
    layer.recalled_pages = std::clamp<std::int64_t>(layer.recalled_pages, 1, layer.pages_loaded);
  }
  return demand;
}

StepGraph live_graph(const DecodeConfig& config, const StepDemand& demand, std::int64_t prefetch_bytes) {
  StepGraph graph = build_decode_step(config, demand);
  if (prefetch_bytes > 0) {
    graph.add({.shape = HostToDeviceShape{.bytes = prefetch_bytes},
               .name = "page_prefetch",
               .layer = -1,
               .stream = Stream::copy_in});
  }
  return graph;
}

double device_bytes(const DecodeConfig& config) {
  const LlmSpec& llm = config.llm;
  double params = 2.0 * static_cast<double>(llm.vocab_size) * llm.hidden_size;
  for (int layer = 0; layer < llm.num_layers; ++layer) params += static_cast<double>(llm.active_params_of_layer(layer));
  const PolicyState state =
      config.policy->state(llm, config.context, config.page_size, config.kv_dtype, config.dense_layers);
  const auto batch = static_cast<double>(config.batch);
  // Policies that keep less still have room for everything here: the live decoder relocates nothing.
  const double kv = static_cast<double>(llm.kv_bytes_per_token(config.kv_dtype)) * static_cast<double>(config.context);
  const double rows = batch * config.window;
  const double activations = rows * (6.0 * llm.intermediate_size + 12.0 * llm.hidden_size) * 4 +
                             batch * static_cast<double>(llm.vocab_size) * 4;
  return params * bits_of(llm.weight_dtype) / 8 + batch * (kv + static_cast<double>(state.gpu_metadata)) + activations;
}

double kv_traffic_share(const DecodeConfig& config) {
  const Traffic traffic = total_traffic(build_decode_step(config, demand_without_unseen(config)));
  return static_cast<double>(traffic.kv_read + traffic.summary_read) / static_cast<double>(traffic.hbm());
}

nlohmann::ordered_json to_json(const LiveConfig& c) {
  return {{"id", c.id},
          {"group", c.group},
          {"llm", c.llm},
          {"layers", c.layers},
          {"policy", c.policy},
          {"window", c.window},
          {"budget", c.budget},
          {"batch", c.batch},
          {"context", c.context},
          {"page_size", c.page_size},
          {"dense_layers", c.dense_layers},
          {"kv_cache_dtype", name_of(c.kv_dtype)},
          {"selection", name_of(c.selection)},
          {"correlation", c.correlation},
          {"prefetch_bytes", c.prefetch_bytes},
          {"seed", c.seed},
          {"merges_in_attention", c.merges_in_attention}};
}

LiveConfig read_live_config(const JsonReader& reader) {
  constexpr std::int64_t kMany = std::int64_t{1} << 40;
  LiveConfig c;
  c.id = reader.string("id");
  c.group = reader.string_or("group", "");
  c.llm = reader.string("llm");
  c.layers = static_cast<int>(reader.integer_or("layers", 0, 0, 1024));
  c.policy = reader.string("policy");
  c.window = static_cast<int>(reader.integer("window", 1, kMaxWindow));
  c.budget = reader.number("budget", 0, 1);
  c.batch = reader.integer("batch", 1, 65536);
  c.context = reader.integer("context", 1, kMany);
  c.page_size = static_cast<int>(reader.integer("page_size", 1, 1024));
  c.dense_layers = static_cast<int>(reader.integer("dense_layers", 0, 1024));
  c.kv_dtype = parse_dtype(reader.string("kv_cache_dtype"), reader.path_of("kv_cache_dtype"));
  c.selection = parse_selection(reader, "selection");
  c.correlation = reader.number_or("correlation", 0, -1, 1);
  c.prefetch_bytes = reader.integer_or("prefetch_bytes", 0, 0, kMany);
  c.seed = static_cast<std::uint64_t>(reader.integer_or("seed", 1, 0, kMany));
  c.merges_in_attention = reader.boolean_or("merges_in_attention", false);
  reader.finish();
  return c;
}

}  // namespace retrosim
