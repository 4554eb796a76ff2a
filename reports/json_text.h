// JSON documents as text, with the one check that the library leaves to us.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace retrosim {

/// Keys keep the order in which they were written, so that documents read as they are documented.
using Json = nlohmann::ordered_json;

/// The document, indented by two spaces and ended by a newline; `indent` < 0 writes one line.
/// Throws std::logic_error naming the dotted path of a number that is not finite (the library would write null).
std::string json_text(const Json& document, int indent = 2);

}  // namespace retrosim
