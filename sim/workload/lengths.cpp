#include "sim/workload/lengths.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <vector>

#include "model/error.h"

namespace retrosim {
namespace {

constexpr std::array kPresets{
    LengthPreset{"azure-conv",
                 {LengthKind::lognormal, 760.0, 0.985, 2, 14050},
                 {LengthKind::lognormal, 151.3, 0.859, 7, 1000},
                 "Azure LLM inference trace 2023, conversation (Splitwise, ISCA 2024): mean and deviation of the "
                 "logarithm of 19,366 requests, clamped to their range"},
    LengthPreset{"azure-code",
                 {LengthKind::lognormal, 1095.1, 1.36, 3, 7437},
                 {LengthKind::lognormal, 16.25, 0.847, 6, 1899},
                 "Azure LLM inference trace 2023, code (Splitwise, ISCA 2024): mean and deviation of the logarithm of "
                 "8,819 requests, clamped to their range"},
    LengthPreset{"sharegpt",
                 {LengthKind::exponential, 161.31, 0, 1, 2048},
                 {LengthKind::exponential, 337.99, 0, 1, 2048},
                 "vLLM paper (SOSP 2023), figure 11: mean lengths of ShareGPT; exponential, as only the means are "
                 "printed"},
    LengthPreset{"alpaca",
                 {LengthKind::exponential, 19.31, 0, 1, 2048},
                 {LengthKind::exponential, 58.45, 0, 1, 2048},
                 "vLLM paper (SOSP 2023), figure 11: mean lengths of Alpaca; exponential, as only the means are "
                 "printed"},
};

double number(std::string_view text, std::string_view whole, std::string_view field) {
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || !(value >= 0 && value <= 1 << 24)) {
    throw InputError("", field, whole,
                     "N, constant:N, uniform:LOW:HIGH, exponential:MEAN or lognormal:MEDIAN:SIGMA, then perhaps "
                     ",MIN,MAX; numbers in [0, 16777216]");
  }
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string short_number(double value) {
  std::array<char, 32> text{};
  const auto [end, code] = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), end};
}

}  // namespace

std::int32_t LengthDistribution::draw(RandomStream& random) const {
  double tokens = a;
  switch (kind) {
    case LengthKind::constant: break;
    case LengthKind::uniform: tokens = a + random.uniform() * (b - a); break;
    case LengthKind::exponential: tokens = a * random.exponential(); break;
    case LengthKind::lognormal: tokens = a * portable_exp(std::clamp(b * random.normal(), -600.0, 600.0)); break;
  }
  const double rounded = std::floor(tokens + 0.5);
  return static_cast<std::int32_t>(std::clamp(rounded, static_cast<double>(min), static_cast<double>(max)));
}

std::string LengthDistribution::text() const {
  std::string result;
  switch (kind) {
    case LengthKind::constant: result = "constant:" + short_number(a); break;
    case LengthKind::uniform: result = "uniform:" + short_number(a) + ":" + short_number(b); break;
    case LengthKind::exponential: result = "exponential:" + short_number(a); break;
    case LengthKind::lognormal: result = "lognormal:" + short_number(a) + ":" + short_number(b); break;
  }
  return result + "," + std::to_string(min) + "," + std::to_string(max);
}

LengthDistribution parse_length(std::string_view text, std::string_view field) {
  const std::vector<std::string_view> ends = split(text, ',');
  const std::vector<std::string_view> parts = split(ends[0], ':');
  LengthDistribution d;
  const auto wrong = [&] { return number("?", text, field); };
  if (parts.size() == 1) {
    d.a = number(parts[0], text, field);
  } else if (parts[0] == "constant" && parts.size() == 2) {
    d.a = number(parts[1], text, field);
  } else if (parts[0] == "exponential" && parts.size() == 2) {
    d.kind = LengthKind::exponential;
    d.a = number(parts[1], text, field);
  } else if ((parts[0] == "uniform" || parts[0] == "lognormal") && parts.size() == 3) {
    d.kind = parts[0] == "uniform" ? LengthKind::uniform : LengthKind::lognormal;
    d.a = number(parts[1], text, field);
    d.b = number(parts[2], text, field);
    if (d.kind == LengthKind::uniform && d.b < d.a) wrong();
    if (d.kind == LengthKind::lognormal && d.b > 10) wrong();
  } else {
    wrong();
  }
  if (ends.size() == 3) {
    d.min = static_cast<std::int32_t>(number(ends[1], text, field));
    d.max = static_cast<std::int32_t>(number(ends[2], text, field));
  } else if (ends.size() != 1) {
    wrong();
  }
  if (d.min < 1 || d.max < d.min || !(d.a > 0)) wrong();
  return d;
}

std::span<const LengthPreset> length_presets() { return kPresets; }

const LengthPreset& find_length_preset(std::string_view name) {
  std::string names;
  for (const LengthPreset& preset : kPresets) {
    if (preset.name == name) return preset;
    names.append(names.empty() ? "" : ", ").append(preset.name);
  }
  throw InputError("", "workload", name, "one of " + names + ", or a trace file");
}

}  // namespace retrosim
