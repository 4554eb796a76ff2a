// Numbers for people: short, with their unit.
#pragma once

#include <string>

namespace retrosim {

/// `value` with `decimals` digits after the point.
std::string fixed(double value, int decimals);

/// Three significant digits and a decimal prefix: "1.53 GB", "812 kB", "16 B".
std::string format_bytes(double bytes);
std::string format_flops(double flops);

/// Microseconds below 10 ms, milliseconds above: "812.4 us", "12.41 ms".
std::string format_latency_us(double microseconds);

/// Share as a percentage with a sign: "+1.2 %"; "n/a" when the base is zero.
std::string format_change(double value, double base);

}  // namespace retrosim
