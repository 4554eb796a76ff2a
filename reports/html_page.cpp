#include "reports/html_page.h"

#include <stdexcept>

#include "reports/assets.h"

namespace retrosim {

std::string report_asset(std::string_view name) {
  for (const embedded::File& file : embedded::report_assets()) {
    if (file.name == name) return std::string(file.text);
  }
  throw std::logic_error("no report asset is called " + std::string(name));
}

std::string escape_html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

}  // namespace retrosim
