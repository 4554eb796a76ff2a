#include "reports/sweep_spec.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

#include "model/error.h"
#include "model/json_reader.h"
#include "sim/workload/random.h"

namespace retrosim {
namespace {

constexpr const char* kSchema = "retrosim.sweep-spec/1";
constexpr std::uint64_t kMaxAxisValues = 1'000'000;
constexpr std::size_t kMaxAxes = 64;

class SpecParser {
 public:
  SpecParser(const nlohmann::json& document, std::string_view origin) : root_(document, std::string(origin)) {
    spec_.origin = origin;
  }

  SweepSpec parse() {
    choice(root_, "schema", {kSchema});
    spec_.serving = choice(root_, "command", {"simulate", "serve"}) == 1;
    if (spec_.serving) spec_.base.simulation.policy = "full";  // as `serve` has it
    if (root_.has("demand")) {
      if (spec_.serving) throw InputError(spec_.origin, "demand", "a value", "nothing: serve has no such input");
      spec_.recorded_demand = choice(root_, "demand", {"mean", "recorded"}) == 1;
    }
    if (root_.has("inputs")) read_inputs(root_.object("inputs"));
    if (root_.has("grid") == root_.has("latin_hypercube")) {
      throw InputError(spec_.origin, "grid", root_.has("grid") ? "latin_hypercube as well" : "neither",
                       "either grid or latin_hypercube");
    }
    if (root_.has("grid")) {
      read_grid();
    } else {
      read_hypercube(root_.object("latin_hypercube"));
    }
    root_.finish();
    if (!spec_.serving && !spec_.recorded_demand && asks_for("steps")) {
      throw InputError(spec_.origin, "steps", "a value",
                       "\"demand\": \"recorded\": on mean demand every step is the same");
    }
    if (!asks_for("llm")) throw InputError(spec_.origin, "inputs.llm", "nothing", "a model, here or on an axis");
    if (!asks_for("gpu") && !asks_for("profile")) {
      throw InputError(spec_.origin, "inputs.gpu", "nothing", "a GPU or a profile, here or on an axis");
    }
    return std::move(spec_);
  }

 private:
  /// Index of the string at `key` among `names`.
  static std::size_t choice(const JsonReader& reader, std::string_view key, std::vector<std::string_view> names) {
    const std::string text = reader.string(key);
    const auto found = std::find(names.begin(), names.end(), text);
    if (found == names.end()) {
      std::string all;
      for (const std::string_view name : names) all.append(all.empty() ? "" : " or ").append(name);
      throw InputError(reader.origin(), reader.path_of(key), text.substr(0, 60), all);
    }
    return static_cast<std::size_t>(found - names.begin());
  }

  const InputField& field_of(const std::string& name, const JsonReader& reader, std::string_view key) {
    const InputField* field = find_input_field(name, spec_.serving);
    if (field == nullptr) {
      throw InputError(
          reader.origin(), reader.path_of(key), name.substr(0, 60),
          "an input of " + std::string(spec_.serving ? "serve" : "simulate") + ": " + input_field_names(spec_.serving));
    }
    if (!asked_.insert(std::string(field->name)).second) {
      throw InputError(reader.origin(), reader.path_of(key), name, "every input once");
    }
    return *field;
  }

  bool asks_for(const std::string& name) const { return asked_.contains(name); }

  void read_inputs(const JsonReader& inputs) {
    for (const std::string& key : inputs.keys()) {
      const InputField& field = field_of(key, inputs, key);
      set_input(field, inputs.raw(key), spec_.origin, inputs.path_of(key), spec_.base);
    }
  }

  SweepAxis read_axis(const JsonReader& reader, bool in_grid) {
    SweepAxis axis;
    axis.field = &field_of(reader.string("input"), reader, "input");
    ServingRequest scratch;
    if (reader.has("values")) {
      const nlohmann::json& values = reader.raw("values");
      if (!values.is_array() || values.empty() || values.size() > kMaxAxisValues) {
        throw InputError(spec_.origin, reader.path_of("values"), "something else", "an array of 1 to 1000000 values");
      }
      for (std::size_t i = 0; i < values.size(); ++i) {
        set_input(*axis.field, values[i], spec_.origin, reader.path_of("values") + "[" + std::to_string(i) + "]",
                  scratch);
        axis.values.push_back(values[i]);
      }
    } else {
      read_range(reader, axis);
      for (const char* end : {"low", "high"}) {
        set_input(*axis.field, axis.at(end[0] == 'l' ? 0 : 1), spec_.origin, reader.path_of(end), scratch);
      }
      if (in_grid) {
        const auto points = static_cast<std::uint64_t>(reader.integer("points", 1, kMaxAxisValues));
        std::vector<nlohmann::json> values;
        for (std::uint64_t i = 0; i < points; ++i) {
          const double place = points == 1 ? 0 : static_cast<double>(i) / static_cast<double>(points - 1);
          values.push_back(axis.at(place));
        }
        axis.values = std::move(values);
      }
    }
    reader.finish();
    return axis;
  }

  void read_range(const JsonReader& reader, SweepAxis& axis) {
    const InputType type = axis.field->type;
    if (type != InputType::number && type != InputType::whole_number) {
      throw InputError(spec_.origin, reader.path_of("values"), "nothing",
                       "an array: " + std::string(axis.field->name) + " is no number");
    }
    const double most = type == InputType::whole_number ? 9e15 : 1e300;
    axis.low = reader.number("low", -most, most);
    axis.high = reader.number("high", axis.low, most);
    axis.logarithmic = reader.has("scale") && choice(reader, "scale", {"linear", "log"}) == 1;
    if (axis.logarithmic && !(axis.low > 0)) {
      throw InputError(spec_.origin, reader.path_of("low"), std::to_string(axis.low), "more than 0 on a log scale");
    }
  }

  void read_axes(const std::vector<JsonReader>& axes, bool in_grid) {
    if (axes.empty() || axes.size() > kMaxAxes) {
      throw InputError(spec_.origin, in_grid ? "grid" : "latin_hypercube.axes", std::to_string(axes.size()) + " axes",
                       "1 to " + std::to_string(kMaxAxes));
    }
    for (const JsonReader& axis : axes) spec_.axes.push_back(read_axis(axis, in_grid));
  }

  void read_grid() {
    read_axes(root_.objects("grid"), true);
    std::vector<std::uint64_t> sizes;
    for (const SweepAxis& axis : spec_.axes) sizes.push_back(axis.values.size());
    try {
      spec_.design = SweepDesign::grid(sizes);
    } catch (const InputError& error) {
      throw InputError(spec_.origin + ": " + error.what());
    }
  }

  void read_hypercube(const JsonReader& reader) {
    const auto samples =
        static_cast<std::uint64_t>(reader.integer("samples", 1, static_cast<std::int64_t>(SweepDesign::kMaxPoints)));
    const auto seed = static_cast<std::uint64_t>(reader.integer_or("seed", 0, 0, std::int64_t{1} << 53));
    read_axes(reader.objects("axes"), false);
    reader.finish();
    spec_.design = SweepDesign::latin_hypercube(spec_.axes.size(), samples, seed);
  }

  JsonReader root_;
  SweepSpec spec_;
  std::set<std::string> asked_;
};

}  // namespace

nlohmann::json SweepAxis::at(double position) const {
  if (!values.empty()) return values[choice_at(position, values.size())];
  double value = low + position * (high - low);
  if (logarithmic) value = low * portable_exp(position * (portable_log(high) - portable_log(low)));
  value = std::clamp(value, low, high);
  if (field->type == InputType::whole_number) return std::llround(value);
  return value;
}

std::vector<nlohmann::json> SweepSpec::values_at(std::uint64_t point) const {
  const std::vector<double> position = design.at(point);
  std::vector<nlohmann::json> values;
  values.reserve(axes.size());
  for (std::size_t i = 0; i < axes.size(); ++i) values.push_back(axes[i].at(position[i]));
  return values;
}

SweepSpec parse_sweep_spec(std::string_view json_text, std::string_view origin) {
  const nlohmann::json document = parse_json(json_text, origin);
  SweepSpec spec = SpecParser(document, origin).parse();
  const std::string identity = std::string(RETROSIM_VERSION) + "\n" + document.dump();
  spec.fingerprint = XXH3_64bits(identity.data(), identity.size());
  return spec;
}

SweepSpec load_sweep_spec(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (!stream || !std::filesystem::is_regular_file(file)) {
    throw InputError(file.string(), "", "", "a readable sweep specification (there is none at this path)");
  }
  text << stream.rdbuf();
  return parse_sweep_spec(std::move(text).str(), file.string());
}

}  // namespace retrosim
