// `retrosim chart`.
#include <gmock/gmock.h>

#include "tests/cli/program.h"

namespace retrosim::test {
namespace {

using ::testing::HasSubstr;

TEST(Chart, DrawsALinePerValueAndRatios) {
  const TemporaryFolder folder;
  const std::string table = (folder / "t.csv").string();
  std::ofstream(table) << "w,batch,us,note\n1,1,10,ok\n1,2,12,ok\n2,1,11,ok\n2,2,15,\"a, b\"\n4,1,,\"no number\"\n";
  const std::string svg = (folder / "c.svg").string();
  const auto draw = [&](const std::string& flags) {
    const Outcome outcome = run("chart " + table + " --x batch --y us --out " + svg + " " + flags);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return read_file(svg);
  };
  const std::string lines = draw("--by w --title 'A <b> title' --log-x");
  EXPECT_THAT(lines, HasSubstr("w 1: 2, 12"));
  EXPECT_THAT(lines, HasSubstr("w 2: 2, 15"));
  EXPECT_THAT(lines, HasSubstr("A &lt;b> title"));
  EXPECT_THAT(lines, ::testing::Not(HasSubstr("w 4")));
  EXPECT_THAT(draw("--by w --relative-to w=1"), HasSubstr("w 2: 2, 1.25"));  // 15 / 12
  EXPECT_THAT(draw("--by w --where w=2"), ::testing::Not(HasSubstr("w 1")));
  EXPECT_THAT(draw("--by w --where 'note=a, b'"), HasSubstr("w 2: 2, 15"));
}

TEST(Chart, RefusesWhatCannotBeDrawn) {
  const TemporaryFolder folder;
  const std::string table = (folder / "t.csv").string();
  std::ofstream(table) << "a,b\n0,1\n";
  const std::string out = " --out " + (folder / "c.svg").string();
  expect_refused("chart " + table + " --x a --y c" + out, "column c");
  expect_refused("chart " + table + " --x a --y b --log-x" + out, "logarithmic");
  expect_refused("chart " + table + " --x a --y b --where a=7" + out, "no points");
  expect_refused("chart " + table + " --x a --y b --where a" + out, "COLUMN=VALUE");
  expect_refused("chart " + table + " --x a --y b --by a --relative-to b=1" + out, "--by");
  expect_refused("chart /nowhere.csv --x a --y b" + out, "/nowhere.csv");
}

}  // namespace
}  // namespace retrosim::test
