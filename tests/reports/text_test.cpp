#include <gmock/gmock.h>

#include <limits>
#include <stdexcept>

#include "reports/format.h"
#include "reports/json_text.h"
#include "reports/study_html.h"

namespace retrosim {
namespace {

TEST(JsonText, RefusesWhatIsNotFinite) {
  const Json document{{"step", {{"latency_us", {1.0, std::numeric_limits<double>::quiet_NaN()}}}}};
  try {
    json_text(document);
    FAIL() << "NaN was written";
  } catch (const std::logic_error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("step.latency_us[1]"));
  }
  EXPECT_THROW(json_text(Json{{"x", std::numeric_limits<double>::infinity()}}), std::logic_error);
  EXPECT_EQ(json_text(Json{{"b", 1}, {"a", 0.5}}, -1), "{\"b\":1,\"a\":0.5}\n");
}

TEST(JsonForHtml, CannotEndTheScriptThatHoldsIt) {
  const Json document{{"trace", "</script><b>.rtrace"}};
  const std::string text = json_for_html(document);
  EXPECT_EQ(text.find('<'), std::string::npos);
  EXPECT_EQ(Json::parse(text), document);
}

TEST(FillPlaceholders, PutsTextInOnceAndRefusesUnknownNames) {
  EXPECT_EQ(fill_placeholders("a {{X}} b", {{"X", "{{Y}}"}}), "a {{Y}} b");
  EXPECT_THROW(fill_placeholders("{{Z}}", {{"X", ""}}), std::logic_error);
  EXPECT_THROW(fill_placeholders("{{X", {{"X", ""}}), std::logic_error);
}

TEST(Format, KeepsThreeDigits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.00 kB");
  EXPECT_EQ(format_bytes(16.06e9), "16.1 GB");
  EXPECT_EQ(format_bytes(999.9e6), "1.00 GB");
  EXPECT_EQ(format_latency_us(812.44), "812.4 us");
  EXPECT_EQ(format_latency_us(12410), "12.41 ms");
  EXPECT_EQ(format_change(101.5, 100), "+1.50 %");
  EXPECT_EQ(format_change(0.5, 1), "-50.0 %");
  EXPECT_EQ(format_change(1, 0), "n/a");
}

}  // namespace
}  // namespace retrosim
