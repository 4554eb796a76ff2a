#include "reports/format.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace retrosim {
namespace {

std::string with_prefix(double value, const char* unit) {
  static constexpr std::array<const char*, 6> kPrefixes = {"", "k", "M", "G", "T", "P"};
  std::size_t prefix = 0;
  while (std::abs(value) >= 999.5 && prefix + 1 < kPrefixes.size()) {
    value /= 1000.0;
    ++prefix;
  }
  const double magnitude = std::abs(value);
  const int decimals = prefix == 0 || magnitude >= 99.95 ? 0 : magnitude >= 9.995 ? 1 : 2;
  return fixed(value, decimals) + " " + kPrefixes[prefix] + unit;
}

}  // namespace

std::string fixed(double value, int decimals) {
  std::array<char, 64> text{};
  const int length = std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return {text.data(), static_cast<std::size_t>(length)};
}

std::string format_bytes(double bytes) { return with_prefix(bytes, "B"); }

std::string format_flops(double flops) { return with_prefix(flops, "FLOP"); }

std::string format_latency_us(double microseconds) {
  return microseconds < 10000.0 ? fixed(microseconds, 1) + " us" : fixed(microseconds / 1000.0, 2) + " ms";
}

std::string format_change(double value, double base) {
  if (base == 0.0) return "n/a";
  const double percent = (value / base - 1.0) * 100.0;
  return (percent < 0.0 ? "" : "+") + fixed(percent, std::abs(percent) < 9.95 ? 2 : 1) + " %";
}

}  // namespace retrosim
