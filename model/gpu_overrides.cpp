#include "model/gpu_overrides.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "model/error.h"

namespace retrosim {
namespace {

void set_figure(nlohmann::json& spec, const std::string& setting) {
  const std::size_t equals = setting.find('=');
  const std::string key = setting.substr(0, equals);
  std::string keys;
  for (const auto& item : spec.items()) {
    if (!item.value().is_string()) keys += (keys.empty() ? "" : ", ") + item.key();
  }
  if (!spec.contains(key) || spec[key].is_string())
    throw InputError("", "--set", setting, "KEY=NUMBER with one of: " + keys);
  const std::string text = equals == std::string::npos ? "" : setting.substr(equals + 1);
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size()) throw InputError("", "--set", setting, "KEY=NUMBER");
  const bool whole = spec[key].is_number_integer() && value > -9e15 && value < 9e15 &&
                     value == static_cast<double>(static_cast<std::int64_t>(value));
  if (whole) {
    spec[key] = static_cast<std::int64_t>(value);
  } else {
    spec[key] = value;
  }
}

}  // namespace

GpuProfile with_overrides(const GpuProfile& profile, std::span<const std::string> settings) {
  if (settings.empty()) return profile;
  nlohmann::json spec = nlohmann::json::parse(to_json_text(profile.spec));
  std::string list;
  for (const std::string& setting : settings) {
    set_figure(spec, setting);
    list += (list.empty() ? "" : ", ") + setting;
  }
  GpuProfile result = transfer_profile(parse_gpu_spec(spec.dump(), "--set"), profile);
  result.provenance = "What if: " + list + ". " + result.provenance;
  return result;
}

}  // namespace retrosim
