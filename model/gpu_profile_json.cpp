// GpuProfile to and from JSON, schema retrosim.gpu-profile/1.
#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "model/error.h"
#include "model/gpu_profile.h"
#include "model/gpu_spec_json.h"
#include "model/json_reader.h"

namespace retrosim {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "retrosim.gpu-profile/1";
constexpr double kMaxBytes = 1e18;
constexpr double kMaxFlops = 1e24;
constexpr double kMaxUnits = 1e12;
constexpr double kMaxSeconds = 10;

/// A fitted number: its key, where it lives, and the range of what makes sense.
struct FittedField {
  const char* key;
  Fitted KindProfile::*member;
  double min;
  double max;
};

constexpr FittedField kFitted[] = {
    {"fixed_latency_s", &KindProfile::fixed_latency_s, 0, kMaxSeconds},
    {"hbm_efficiency", &KindProfile::hbm_efficiency, 1e-6, 1},
    {"compute_efficiency", &KindProfile::compute_efficiency, 1e-6, 1},
    {"half_bandwidth_bytes", &KindProfile::half_bandwidth_bytes, 0, 1e12},
    {"memory_half_units", &KindProfile::memory_half_units, 0, kMaxUnits},
    {"compute_half_units", &KindProfile::compute_half_units, 0, kMaxUnits},
    {"unit_latency_s", &KindProfile::unit_latency_s, 0, kMaxSeconds},
};

struct RateField {
  const char* key;
  double GpuProfile::*member;
  double min;
  double max;
};

constexpr RateField kRates[] = {
    {"graph_node_s", &GpuProfile::graph_node_s, 0, kMaxSeconds},
    {"graph_launch_s", &GpuProfile::graph_launch_s, 0, kMaxSeconds},
    {"kernel_launch_s", &GpuProfile::kernel_launch_s, 0, kMaxSeconds},
    {"unseen_visit_s", &GpuProfile::unseen_visit_s, 0, kMaxSeconds},
    {"pcie_h2d_bytes_per_s", &GpuProfile::pcie_h2d_bytes_per_s, 1, 1e18},
    {"pcie_d2h_bytes_per_s", &GpuProfile::pcie_d2h_bytes_per_s, 1, 1e18},
    {"pcie_latency_s", &GpuProfile::pcie_latency_s, 0, kMaxSeconds},
    {"interconnect_efficiency", &GpuProfile::interconnect_efficiency, 1e-6, 1},
    {"interconnect_latency_s", &GpuProfile::interconnect_latency_s, 0, kMaxSeconds},
    {"l2_bandwidth_bytes_per_s", &GpuProfile::l2_bandwidth_bytes_per_s, 1, 1e18},
    {"host_memory_bytes_per_s", &GpuProfile::host_memory_bytes_per_s, 1, 1e18},
    {"host_flops_per_s", &GpuProfile::host_flops_per_s, 1, 1e24},
};

Fitted read_fitted(const JsonReader& reader, double min, double max) {
  Fitted fitted{.value = reader.number("value", min, max), .low = reader.number("low"), .high = reader.number("high")};
  if (!(fitted.low <= fitted.value && fitted.value <= fitted.high))
    reader.fail("value", "a number between low and high");
  reader.finish();
  return fitted;
}

Json to_json(const Fitted& fitted) { return {{"value", fitted.value}, {"low", fitted.low}, {"high", fitted.high}}; }

HoldOut read_hold_out(const JsonReader& reader) {
  HoldOut result{.samples = reader.integer("samples", 0, std::int64_t{1} << 40),
                 .mape = reader.number("mape", 0),
                 .median_abs_error = reader.number("median_abs_error", 0),
                 .p95_abs_error = reader.number("p95_abs_error", 0),
                 .bias = reader.number("bias")};
  reader.finish();
  return result;
}

Json to_json(const HoldOut& hold_out) {
  return {{"samples", hold_out.samples},
          {"mape", hold_out.mape},
          {"median_abs_error", hold_out.median_abs_error},
          {"p95_abs_error", hold_out.p95_abs_error},
          {"bias", hold_out.bias}};
}

/// Three columns of equal length.
std::vector<SampledShape> read_shapes(const JsonReader& reader) {
  const std::vector<double> bytes = reader.numbers("bytes");
  const std::vector<double> flops = reader.numbers("flops");
  const std::vector<double> units = reader.numbers("units");
  if (flops.size() != bytes.size()) reader.fail("flops", "as many numbers as bytes");
  if (units.size() != bytes.size()) reader.fail("units", "as many numbers as bytes");
  std::vector<SampledShape> shapes;
  for (std::size_t i = 0; i < bytes.size(); ++i) shapes.push_back({bytes[i], flops[i], units[i]});
  reader.finish();
  return shapes;
}

Json to_json(const std::vector<SampledShape>& shapes) {
  Json bytes = Json::array();
  Json flops = Json::array();
  Json units = Json::array();
  for (const SampledShape& shape : shapes) {
    bytes.push_back(shape.bytes);
    flops.push_back(shape.flops);
    units.push_back(shape.units);
  }
  return {{"bytes", bytes}, {"flops", flops}, {"units", units}};
}

constexpr std::size_t kMaxGridPoints = 1 << 16;
constexpr double kMaxLogFactor = 5;

LatencyTable read_table(const JsonReader& reader) {
  std::vector<LatencyTable::Axis> axes;
  std::size_t points = 1;
  for (const JsonReader& axis : reader.objects("axes")) {
    axes.push_back(
        {.axis = parse_shape_axis(axis.string("axis"), axis.path_of("axis")), .knots = axis.numbers("log2_1p_knots")});
    const std::vector<double>& knots = axes.back().knots;
    const bool ascends = std::ranges::adjacent_find(knots, std::ranges::greater_equal{}) == knots.end();
    if (knots.empty() || !ascends) axis.fail("log2_1p_knots", "ascending numbers");
    points *= knots.size();
    if (points > kMaxGridPoints) axis.fail("log2_1p_knots", "a grid of at most 65536 points");
    axis.finish();
  }
  std::vector<double> factors = reader.numbers("log_factors");
  if (axes.empty() || axes.size() > LatencyTable::kMaxAxes) reader.fail("axes", "one to three axes");
  const bool sane = std::ranges::all_of(factors, [](double f) { return std::abs(f) <= kMaxLogFactor; });
  if (factors.size() != points || !sane) reader.fail("log_factors", "one number in [-5, 5] per grid point");
  reader.finish();
  return {std::move(axes), std::move(factors)};
}

Json to_json(const LatencyTable& table) {
  Json json{{"axes", Json::array()}, {"log_factors", table.log_factors()}};
  for (const LatencyTable::Axis& axis : table.axes()) {
    json["axes"].push_back({{"axis", name_of(axis.axis)}, {"log2_1p_knots", axis.knots}});
  }
  return json;
}

KindProfile read_kind(const JsonReader& reader) {
  KindProfile kind;
  for (const FittedField& field : kFitted) {
    kind.*field.member = read_fitted(reader.object(field.key), field.min, field.max);
  }
  if (reader.has("serial_token_s")) {
    kind.serial_token_s = read_fitted(reader.object("serial_token_s"), 0, kMaxSeconds);
  }
  if (reader.has("tables")) {
    for (const JsonReader& table : reader.objects("tables")) kind.tables.push_back(read_table(table));
  }
  kind.step_overlap_s = reader.number_or("step_overlap_s", 0, -1, 1);
  kind.many_rows_step_overlap_s = reader.number_or("many_rows_step_overlap_s", kind.step_overlap_s, -1, 1);
  const JsonReader domain = reader.object("domain");
  kind.domain = {.min_bytes = domain.number("min_bytes", 0, kMaxBytes),
                 .max_bytes = domain.number("max_bytes", 0, kMaxBytes),
                 .min_flops = domain.number("min_flops", 0, kMaxFlops),
                 .max_flops = domain.number("max_flops", 0, kMaxFlops)};
  domain.finish();
  kind.hold_out = read_hold_out(reader.object("hold_out"));
  for (const JsonReader& regime : reader.objects("by_regime")) {
    kind.by_regime.push_back({.regime = regime.string("regime"), .hold_out = read_hold_out(regime.object("hold_out"))});
    regime.finish();
  }
  kind.sampled_shapes = read_shapes(reader.object("sampled_shapes"));
  kind.samples = reader.integer("samples", 0, std::int64_t{1} << 40);
  kind.source = reader.string("source");
  kind.measured = reader.boolean("measured");
  reader.finish();
  return kind;
}

Json to_json(const KindProfile& kind) {
  Json json;
  for (const FittedField& field : kFitted) {
    const Fitted& fitted = kind.*field.member;
    json[field.key] = to_json(fitted);
  }
  if (kind.serial_token_s.value > 0) json["serial_token_s"] = to_json(kind.serial_token_s);
  for (const LatencyTable& table : kind.tables) json["tables"].push_back(to_json(table));
  if (kind.step_overlap_s != 0) json["step_overlap_s"] = kind.step_overlap_s;
  if (kind.many_rows_step_overlap_s != kind.step_overlap_s) {
    json["many_rows_step_overlap_s"] = kind.many_rows_step_overlap_s;
  }
  json["domain"] = {{"min_bytes", kind.domain.min_bytes},
                    {"max_bytes", kind.domain.max_bytes},
                    {"min_flops", kind.domain.min_flops},
                    {"max_flops", kind.domain.max_flops}};
  json["samples"] = kind.samples;
  json["hold_out"] = to_json(kind.hold_out);
  json["by_regime"] = Json::array();
  for (const RegimeHoldOut& regime : kind.by_regime) {
    json["by_regime"].push_back({{"regime", regime.regime}, {"hold_out", to_json(regime.hold_out)}});
  }
  json["source"] = kind.source;
  json["measured"] = kind.measured;
  json["sampled_shapes"] = to_json(kind.sampled_shapes);
  return json;
}

/// JSON has no infinities: nlohmann would write null, which no reader would take back.
void refuse_non_finite(const Json& json, const std::string& path) {
  if (json.is_structured()) {
    for (const auto& item : json.items()) refuse_non_finite(item.value(), path + "." + item.key());
  } else if (json.is_number_float() && !std::isfinite(json.get<double>())) {
    throw InputError("profile", path, "a number that is not finite", "finite numbers");
  }
}

}  // namespace

GpuProfile read_gpu_profile(const JsonReader& reader) {
  if (reader.string("schema") != kSchema) reader.fail("schema", kSchema);
  GpuProfile profile;
  profile.name = reader.string("name");
  profile.provenance = reader.string("provenance");
  profile.spec = read_gpu_spec(reader.object("spec"));
  profile.merges_in_attention = reader.boolean_or("merges_in_attention", false);
  profile.few_row_products = reader.boolean_or("few_row_products", false);
  for (const RateField& field : kRates) profile.*field.member = reader.number(field.key, field.min, field.max);
  profile.pcie_copy_s = reader.number_or("pcie_copy_s", 0, 0, kMaxSeconds);
  for (const JsonReader& file : reader.objects("sample_files")) {
    profile.sample_files.push_back({.path = file.string("path"), .xxh3_64 = file.string("xxh3_64")});
    file.finish();
  }
  const JsonReader kinds = reader.object("kinds");
  for (const std::string& key : kinds.keys()) profile.kinds.emplace(key, read_kind(kinds.object(key)));
  reader.finish();
  return profile;
}

std::string to_json_text(const GpuProfile& profile) {
  Json json;
  json["schema"] = kSchema;
  json["name"] = profile.name;
  json["provenance"] = profile.provenance;
  json["spec"] = to_json(profile.spec);
  if (profile.merges_in_attention) json["merges_in_attention"] = true;
  if (profile.few_row_products) json["few_row_products"] = true;
  for (const RateField& field : kRates) json[field.key] = profile.*field.member;
  if (profile.pcie_copy_s > 0) json["pcie_copy_s"] = profile.pcie_copy_s;
  json["sample_files"] = Json::array();
  for (const SampleFile& file : profile.sample_files) {
    json["sample_files"].push_back({{"path", file.path}, {"xxh3_64", file.xxh3_64}});
  }
  json["kinds"] = Json::object();
  for (const auto& [key, kind] : profile.kinds) json["kinds"][key] = to_json(kind);
  refuse_non_finite(json, "");
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace retrosim
