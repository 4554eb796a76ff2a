// The report as one HTML file that needs neither network nor other files.
#pragma once

#include <string>

#include "reports/study.h"

namespace retrosim {

std::string study_html(const Study& study);

/// Replaces every {{NAME}} of `page` that `value_of` lists; text that was put in is not looked at again.
/// Throws std::logic_error for a placeholder without a value.
std::string fill_placeholders(std::string_view page,
                              const std::vector<std::pair<std::string_view, std::string>>& values);

/// JSON text that can stand inside a <script> element: no "<" is left in it.
std::string json_for_html(const Json& document);

}  // namespace retrosim
