#include "reports/json_text.h"

#include <cmath>
#include <stdexcept>

namespace retrosim {
namespace {

void require_finite(const Json& value, const std::string& path) {
  if (value.is_object()) {
    for (auto member = value.begin(); member != value.end(); ++member) {
      require_finite(member.value(), path.empty() ? member.key() : path + "." + member.key());
    }
  } else if (value.is_array()) {
    std::size_t index = 0;
    for (const Json& element : value) require_finite(element, path + "[" + std::to_string(index++) + "]");
  } else if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    throw std::logic_error("JSON field " + path + " is not finite");
  }
}

}  // namespace

std::string json_text(const Json& document, int indent) {
  require_finite(document, "");
  return document.dump(indent) + "\n";
}

}  // namespace retrosim
