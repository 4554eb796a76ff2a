// `retrosim validate`: live runs against the simulator as JSON, Markdown and HTML.
#pragma once

#include <filesystem>
#include <string>

#include "calibrate/live/live_validation.h"
#include "reports/json_text.h"

namespace retrosim {

/// Schema retrosim.validate_live/1.
Json live_validation_json(const LiveValidation& validation);
std::string live_validation_markdown(const LiveValidation& validation);
std::string live_validation_html(const LiveValidation& validation);

/// Writes validation.json, validation.md and validation.html into `folder`. Throws InputError.
void write_live_validation(const LiveValidation& validation, const std::filesystem::path& folder);

}  // namespace retrosim
