#include "calibrate/calibration_samples.h"

#include <zstd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "calibrate/op_json.h"
#include "model/error.h"
#include "model/json_reader.h"

namespace retrosim {
namespace {

constexpr std::int64_t kMaxCount = std::int64_t{1} << 30;
constexpr std::size_t kMaxBytes = std::size_t{1} << 30;

MeasuredOp read_measured_op(const JsonReader& reader) {
  MeasuredOp op{.name = reader.string_or("name", ""),
                .shape = read_op_shape(reader.object("shape")),
                .count = reader.integer("count", 1, kMaxCount),
                .distinct = reader.integer("distinct", 1, kMaxCount),
                .path = reader.string_or("path", "")};
  reader.finish();
  return op;
}

std::string text_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw InputError(file.string(), "", "", "a readable file of samples");
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::string decompressed(const std::string& packed, const std::string& origin) {
  const unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > kMaxBytes) {
    throw InputError(origin, "", "", "a zstd frame that states its size");
  }
  std::string text(size, '\0');
  const std::size_t done = ZSTD_decompress(text.data(), text.size(), packed.data(), packed.size());
  if (ZSTD_isError(done) != 0 || done != size) throw InputError(origin, "", "", "a whole zstd frame");
  return text;
}

}  // namespace

double GraphSample::median_us() const {
  std::vector<double> sorted = samples_us;
  std::ranges::sort(sorted);
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

double GraphSample::figure(const std::string& name) const {
  const auto found = std::ranges::find(figures, name, &std::pair<std::string, double>::first);
  if (found == figures.end()) throw InputError("", name, "nothing", "a figure of sample " + part);
  return found->second;
}

std::string to_json_line(const GraphSample& sample) {
  nlohmann::ordered_json json;
  json["case"] = sample.case_index;
  json["part"] = sample.part;
  json["ops"] = nlohmann::ordered_json::array();
  for (const MeasuredOp& op : sample.ops) {
    nlohmann::ordered_json entry;
    if (!op.name.empty()) entry["name"] = op.name;
    entry["shape"] = to_json(op.shape);
    entry["count"] = op.count;
    entry["distinct"] = op.distinct;
    if (!op.path.empty()) entry["path"] = op.path;
    json["ops"].push_back(std::move(entry));
  }
  json["samples_us"] = nlohmann::ordered_json::array();
  for (const double us : sample.samples_us) json["samples_us"].push_back(std::round(us * 1e3) / 1e3);
  if (sample.throttled) json["throttled"] = true;
  if (!sample.figures.empty()) {
    for (const auto& [name, value] : sample.figures) json["figures"][name] = value;
  }
  return json.dump();
}

GraphSample parse_sample(const std::string& line, const std::string& origin) {
  const nlohmann::json json = parse_json(line, origin);
  const JsonReader reader(json, origin);
  GraphSample sample{.case_index = static_cast<int>(reader.integer("case", -1, kMaxCount)),
                     .part = reader.string("part"),
                     .ops = {},
                     .samples_us = reader.numbers("samples_us"),
                     .throttled = reader.boolean_or("throttled", false),
                     .figures = {}};
  for (const JsonReader& op : reader.objects("ops")) sample.ops.push_back(read_measured_op(op));
  if (reader.has("figures")) {
    const JsonReader figures = reader.object("figures");
    for (const std::string& name : figures.keys()) sample.figures.emplace_back(name, figures.number(name));
  }
  reader.finish();
  const bool positive = std::ranges::all_of(sample.samples_us, [](double us) { return us > 0; });
  if (sample.samples_us.empty() || !positive) reader.fail("samples_us", "times above 0");
  return sample;
}

std::vector<GraphSample> read_samples(const std::filesystem::path& file) {
  std::string text = text_of(file);
  if (file.extension() == ".zst") text = decompressed(text, file.string());
  std::vector<GraphSample> samples;
  std::istringstream lines(text);
  std::size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (lines.eof()) break;  // no newline: cut off while it was written
    if (!line.empty()) samples.push_back(parse_sample(line, file.string() + ":" + std::to_string(number)));
  }
  return samples;
}

}  // namespace retrosim
