// The parts that HTML reports are put together from.
#pragma once

#include <string>
#include <string_view>

namespace retrosim {

/// An embedded file by name (assets.h). Throws std::logic_error when there is none.
std::string report_asset(std::string_view name);

std::string escape_html(std::string_view text);

}  // namespace retrosim
