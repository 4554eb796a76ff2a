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

constexpr std::string_view kForms =
    "N, constant:N, uniform:LOW:HIGH, exponential:MEAN, lognormal:MEDIAN:SIGMA, normal:MEAN:DEVIATION or "
    "quantiles:0=N:P=N:...:1=N, then perhaps ,MIN,MAX; numbers in [0, 16777216]";

double number(std::string_view text, std::string_view whole, std::string_view field) {
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || !(value >= 0 && value <= 1 << 24)) {
    throw InputError("", field, whole, kForms);
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

double at_quantile(const LengthDistribution& d, double p) {
  std::size_t i = 1;
  while (i + 1 < d.num_quantiles && d.quantiles[i].p < p) ++i;
  const LengthQuantile& low = d.quantiles[i - 1];
  const LengthQuantile& high = d.quantiles[i];
  const double part = (p - low.p) / (high.p - low.p);
  return low.tokens * portable_exp(part * portable_log(high.tokens / low.tokens));
}

void parse_quantiles(const std::vector<std::string_view>& points, std::string_view text, std::string_view field,
                     LengthDistribution& d) {
  const auto wrong = [&] { throw InputError("", field, text, kForms); };
  if (points.size() < 2 || points.size() > LengthDistribution::kMaxQuantiles) wrong();
  for (const std::string_view point : points) {
    const std::vector<std::string_view> sides = split(point, '=');
    if (sides.size() != 2) wrong();
    const LengthQuantile next{number(sides[0], text, field), number(sides[1], text, field)};
    if (!(next.tokens >= 1)) wrong();
    if (d.num_quantiles > 0) {
      const LengthQuantile& last = d.quantiles[d.num_quantiles - 1];
      if (!(next.p > last.p) || next.tokens < last.tokens) wrong();
    }
    d.quantiles[d.num_quantiles++] = next;
  }
  if (d.quantiles[0].p != 0 || d.quantiles[d.num_quantiles - 1].p != 1) wrong();
}

}  // namespace

std::int32_t LengthDistribution::draw(RandomStream& random) const {
  double tokens = a;
  switch (kind) {
    case LengthKind::constant: break;
    case LengthKind::uniform: tokens = a + random.uniform() * (b - a); break;
    case LengthKind::exponential: tokens = a * random.exponential(); break;
    case LengthKind::lognormal: tokens = a * portable_exp(std::clamp(b * random.normal(), -600.0, 600.0)); break;
    case LengthKind::normal: tokens = a + b * random.normal(); break;
    case LengthKind::quantiles: tokens = at_quantile(*this, random.uniform()); break;
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
    case LengthKind::normal: result = "normal:" + short_number(a) + ":" + short_number(b); break;
    case LengthKind::quantiles:
      result = "quantiles";
      for (std::size_t i = 0; i < num_quantiles; ++i) {
        result += ":" + short_number(quantiles[i].p) + "=" + short_number(quantiles[i].tokens);
      }
      break;
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
  } else if (parts[0] == "quantiles") {
    d.kind = LengthKind::quantiles;
    parse_quantiles({parts.begin() + 1, parts.end()}, text, field, d);
  } else if ((parts[0] == "uniform" || parts[0] == "lognormal" || parts[0] == "normal") && parts.size() == 3) {
    d.kind = parts[0] == "uniform"     ? LengthKind::uniform
             : parts[0] == "lognormal" ? LengthKind::lognormal
                                       : LengthKind::normal;
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

}  // namespace retrosim
