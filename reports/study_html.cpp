#include "reports/study_html.h"

#include <algorithm>
#include <stdexcept>

#include "reports/html_page.h"

namespace retrosim {
std::string json_for_html(const Json& document) {
  std::string safe;
  for (const char c : json_text(document, -1)) {
    if (c == '<') {
      safe += "\\u003c";  // "<" occurs only within strings, where the escape means the same
    } else {
      safe += c;
    }
  }
  return safe;
}

std::string fill_placeholders(std::string_view page,
                              const std::vector<std::pair<std::string_view, std::string>>& values) {
  std::string filled;
  while (true) {
    const std::size_t open = page.find("{{");
    filled += page.substr(0, open);
    if (open == std::string_view::npos) return filled;
    const std::size_t close = page.find("}}", open);
    if (close == std::string_view::npos) throw std::logic_error("a placeholder of the page is not closed");
    const std::string_view name = page.substr(open + 2, close - open - 2);
    const auto value = std::find_if(values.begin(), values.end(), [&](const auto& v) { return v.first == name; });
    if (value == values.end()) throw std::logic_error("no value for the placeholder " + std::string(name));
    filled += value->second;
    page.remove_prefix(close + 2);
  }
}

std::string study_html(const Study& study) {
  const DecodeConfig& config = study.run.resolved.config;
  const std::string title = config.llm.name + " on " + study.run.resolved.gpu.spec.name + ": " + variant_name(config) +
                            " against full attention";
  return fill_placeholders(report_asset("page"), {{"TITLE", escape_html(title)},
                                                  {"VERSION", RETROSIM_VERSION},
                                                  {"STYLE", report_asset("style")},
                                                  {"DATA", json_for_html(study_json(study))},
                                                  {"CHART_JS", report_asset("chart.min")},
                                                  {"SCRIPT", report_asset("script")}});
}

}  // namespace retrosim
