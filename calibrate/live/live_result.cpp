#include "calibrate/live/live_result.h"

#include <algorithm>
#include <fstream>

#include "model/error.h"

namespace retrosim {
namespace {

constexpr std::int64_t kMany = std::int64_t{1} << 50;

std::vector<LayerDemand> read_layers(const JsonReader& reader) {
  std::vector<LayerDemand> layers;
  for (const JsonReader& layer : reader.objects("layers")) {
    layers.push_back({.pages_loaded = layer.integer("pages_loaded", 0, kMany),
                      .tokens_loaded = layer.integer("tokens_loaded", 0, kMany),
                      .unseen_visits = layer.integer("unseen_visits", 0, kMany),
                      .unseen_union = layer.integer("unseen_union", 0, kMany),
                      .recalled_pages = layer.integer("recalled_pages", 0, kMany)});
    layer.finish();
  }
  return layers;
}

}  // namespace

std::string to_json_line(const LiveResult& result) {
  nlohmann::ordered_json ops = nlohmann::ordered_json::array();
  for (const LiveOpTime& op : result.ops) {
    ops.push_back({{"name", op.name}, {"launches", op.launches}, {"latency_us", op.latency_us}});
  }
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const LayerDemand& layer : result.layers) {
    layers.push_back({{"pages_loaded", layer.pages_loaded},
                      {"tokens_loaded", layer.tokens_loaded},
                      {"unseen_visits", layer.unseen_visits},
                      {"unseen_union", layer.unseen_union},
                      {"recalled_pages", layer.recalled_pages}});
  }
  return nlohmann::ordered_json{{"schema", "retrosim.live/1"},
                                {"config", to_json(result.config)},
                                {"gpu", result.gpu},
                                {"sm_count", result.sm_count},
                                {"first_context", result.first_context},
                                {"step_us", result.step_us},
                                {"without_products_us", result.without_products_us},
                                {"ops", ops},
                                {"layers", layers},
                                {"unseen_by_step", result.unseen_by_step},
                                {"overlap", result.overlap},
                                {"trace", result.trace},
                                {"error", result.error}}
      .dump();
}

LiveResult parse_live_result(const std::string& line, const std::string& origin) {
  const nlohmann::json document = parse_json(line, origin);
  const JsonReader reader(document, origin);
  if (reader.string("schema") != "retrosim.live/1") reader.fail("schema", "retrosim.live/1");
  LiveResult result;
  result.config = read_live_config(reader.object("config"));
  result.gpu = reader.string("gpu");
  result.sm_count = static_cast<int>(reader.integer("sm_count", 0, 1 << 20));
  result.first_context = reader.integer("first_context", 0, kMany);
  result.step_us = reader.numbers("step_us");
  result.without_products_us = reader.numbers("without_products_us");
  for (const JsonReader& op : reader.objects("ops")) {
    result.ops.push_back({.name = op.string("name"),
                          .launches = op.integer("launches", 1, kMany),
                          .latency_us = op.number("latency_us", 0)});
    op.finish();
  }
  result.layers = read_layers(reader);
  result.unseen_by_step = reader.integers("unseen_by_step", 0, kMany);
  result.overlap = reader.number("overlap", -1, 1);
  result.trace = reader.string_or("trace", "");
  result.error = reader.string_or("error", "");
  reader.finish();
  for (const double us : result.step_us) {
    if (!(us > 0)) reader.fail("step_us", "times above 0");
  }
  return result;
}

std::vector<LiveResult> read_live_results(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw InputError(file.string() + ": cannot be read");
  std::vector<LiveResult> results;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (in.eof()) break;  // no newline: the run was cut off while it wrote this line
    if (!line.empty()) results.push_back(parse_live_result(line, file.string() + ":" + std::to_string(number)));
  }
  return results;
}

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

}  // namespace retrosim
