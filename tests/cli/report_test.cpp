#include <gmock/gmock.h>

#include "tests/cli/program.h"
#include "tests/cli/synthetic_trace.h"

namespace retrosim::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Report, IsOneFileThatNeedsNoNetwork) {
  const TemporaryFolder folder;
  const std::string trace = (folder / "t.rtrace").string();
  write_trace(trace, {.turn_pages = 3});
  const std::string html = (folder / "report.html").string();
  const std::string markdown = (folder / "report.md").string();
  const std::string csv = (folder / "report.csv").string();
  const Outcome outcome = run("report --gpu h100-sxm --llm llama-3.1-8b --steps 4 --trace " + trace + " --out " + html +
                              " --markdown " + markdown + " --csv " + csv + " --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json answer = outcome.json();
  EXPECT_EQ(answer.at("schema"), "retrosim.report/1");
  const std::string page = read_file(html);
  EXPECT_THAT(page, Not(HasSubstr("{{")));
  for (const char* outside : {"src=\"http", "href=\"http", "src='http", "@import", "url(http"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  EXPECT_THAT(page, HasSubstr("Chart.js v"));
  // The page carries the very data that --json prints.
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const std::size_t begin = page.find(open) + open.size();
  EXPECT_EQ(json::parse(page.substr(begin, page.find("</script>", begin) - begin)), answer);
  EXPECT_THAT(read_file(markdown), HasSubstr("| latency, mean |"));
  EXPECT_THAT(read_file(csv), HasSubstr("sweep,x,variant,fits,latency_us_mean"));
  EXPECT_THAT(folder.files(), ::testing::ElementsAre("report.csv", "report.html", "report.md", "t.rtrace"));
}

TEST(Report, RefusesThePolicyThatItComparesWith) {
  expect_refused("report --gpu h100-sxm --llm llama-3.1-8b --policy full --out /tmp/never.html", "--policy");
  EXPECT_FALSE(std::filesystem::exists("/tmp/never.html"));
}

}  // namespace
}  // namespace retrosim::test
