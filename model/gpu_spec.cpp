#include "model/gpu_spec.h"

#include <algorithm>

#include "model/embedded.h"
#include "model/error.h"
#include "model/gpu_spec_json.h"

namespace retrosim {
namespace {

constexpr const char* kSchema = "retrosim.gpu-spec/1";
constexpr double kMaxRate = 1e21;  // per second; far above any machine, far below overflow
constexpr double kMaxBytes = 1e16;

/// A number key of the document: null is allowed only where it has a meaning (gpu_spec.h).
struct NumberField {
  const char* key;
  double GpuSpec::*member;
  bool nullable;
};

constexpr NumberField kNumbers[] = {
    {"hbm_bandwidth_bytes_per_s", &GpuSpec::hbm_bandwidth_bytes_per_s, false},
    {"bf16_dense_flops_per_s", &GpuSpec::bf16_flops_per_s, false},
    {"fp8_dense_flops_per_s", &GpuSpec::fp8_flops_per_s, true},
    {"int8_dense_ops_per_s", &GpuSpec::int8_ops_per_s, true},
    {"fp4_dense_flops_per_s", &GpuSpec::fp4_flops_per_s, true},
    {"cuda_core_fp32_flops_per_s", &GpuSpec::cuda_core_flops_per_s, false},
    {"sm_boost_clock_hz", &GpuSpec::sm_clock_hz, false},
    {"interconnect_bandwidth_bytes_per_s", &GpuSpec::interconnect_bandwidth_bytes_per_s, false},
    {"inter_node_bandwidth_bytes_per_s", &GpuSpec::inter_node_bandwidth_bytes_per_s, true},
    {"pcie_bandwidth_bytes_per_s", &GpuSpec::pcie_bandwidth_bytes_per_s, false},
    {"power_watts", &GpuSpec::power_watts, true},
};

struct IntegerField {
  const char* key;
  int GpuSpec::*member;
  int max;
  bool nullable;
};

constexpr IntegerField kIntegers[] = {
    {"sm_count", &GpuSpec::sm_count, 100000, false},
    {"compute_capability_x10", &GpuSpec::compute_capability_x10, 10000, true},
    {"gpus_per_node", &GpuSpec::gpus_per_node, 10000, false},
};

bool is_absent_or_null(const JsonReader& reader, const char* key, bool nullable) {
  if (reader.has(key)) return false;
  const std::vector<std::string> keys = reader.keys();
  if (!nullable || std::ranges::find(keys, key) == keys.end()) {
    reader.fail(key, nullable ? "a positive number or null" : "a positive number");
  }
  return true;
}

}  // namespace

double GpuSpec::peak_flops_per_s(DType dtype) const {
  switch (dtype) {
    case DType::f32: return cuda_core_flops_per_s;
    case DType::fp8_e4m3: return fp8_flops_per_s > 0 ? fp8_flops_per_s : bf16_flops_per_s;
    case DType::int8: return int8_ops_per_s > 0 ? int8_ops_per_s : bf16_flops_per_s;
    case DType::bf16:
    case DType::f16:
    case DType::int4:
    case DType::int2: return bf16_flops_per_s;  // widened before the product
  }
  return bf16_flops_per_s;
}

GpuSpec read_gpu_spec(const JsonReader& reader) {
  if (reader.string("schema") != kSchema) reader.fail("schema", kSchema);
  GpuSpec spec;
  spec.name = reader.string("name");
  if (spec.name.empty()) reader.fail("name", "a name");
  spec.source = reader.string("source");
  for (const NumberField& field : kNumbers) {
    if (is_absent_or_null(reader, field.key, field.nullable)) continue;
    spec.*field.member = reader.number(field.key, 1e-3, kMaxRate);
  }
  for (const IntegerField& field : kIntegers) {
    if (is_absent_or_null(reader, field.key, field.nullable)) continue;
    spec.*field.member = static_cast<int>(reader.integer(field.key, 1, field.max));
  }
  spec.hbm_capacity_bytes = reader.integer("hbm_capacity_bytes", 1, static_cast<std::int64_t>(kMaxBytes));
  spec.l2_bytes = reader.integer("l2_bytes", 1, static_cast<std::int64_t>(kMaxBytes));
  reader.finish();
  return spec;
}

nlohmann::ordered_json to_json(const GpuSpec& spec) {
  nlohmann::ordered_json json;
  json["schema"] = kSchema;
  json["name"] = spec.name;
  json["source"] = spec.source;
  for (const NumberField& field : kNumbers) {
    const double value = spec.*field.member;
    json[field.key] = field.nullable && value == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(value);
  }
  for (const IntegerField& field : kIntegers) {
    const int value = spec.*field.member;
    json[field.key] = field.nullable && value == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(value);
  }
  json["hbm_capacity_bytes"] = spec.hbm_capacity_bytes;
  json["l2_bytes"] = spec.l2_bytes;
  return json;
}

GpuSpec parse_gpu_spec(std::string_view json_text, std::string_view origin) {
  const nlohmann::json json = parse_json(json_text, origin);
  return read_gpu_spec(JsonReader(json, std::string(origin)));
}

std::string to_json_text(const GpuSpec& spec) {
  return to_json(spec).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

GpuSpec find_gpu_spec(std::string_view name_or_path) {
  for (const embedded::File& file : embedded::gpu_specs()) {
    if (file.name == name_or_path) return parse_gpu_spec(file.text, "bundled " + std::string(name_or_path));
  }
  std::error_code code;
  if (!std::filesystem::is_regular_file(std::filesystem::path(name_or_path), code)) {
    std::string names;
    for (const std::string& name : bundled_gpu_names()) names += (names.empty() ? "" : ", ") + name;
    throw InputError("", "gpu", name_or_path, "a spec file or one of: " + names);
  }
  const nlohmann::json json = read_json_file(std::filesystem::path(name_or_path));
  return read_gpu_spec(JsonReader(json, std::string(name_or_path)));
}

std::vector<std::string> bundled_gpu_names() {
  std::vector<std::string> names;
  for (const embedded::File& file : embedded::gpu_specs()) names.emplace_back(file.name);
  std::ranges::sort(names);
  return names;
}

}  // namespace retrosim
