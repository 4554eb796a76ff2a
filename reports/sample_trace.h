// The recorded trace that is linked into the program and used where --trace is not given.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace retrosim {

/// Name of the bundled trace, as printed in `inputs`; empty in a build without one.
std::string_view sample_trace_name();

/// The whole .rtrace file. Throws InputError asking for --trace in a build without one.
std::span<const std::uint8_t> sample_trace();

}  // namespace retrosim
