#include "reports/table.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace retrosim {
namespace {

Table sample() {
  Table table({"name", "value"});
  table.add({"a", "1"});
  table.add({"long|er", "12,5"});
  return table;
}

TEST(Table, AlignsTextLeftAndNumbersRight) {
  EXPECT_EQ(sample().to_text(),
            "name     value\n"
            "-------  -----\n"
            "a            1\n"
            "long|er   12,5\n");
}

TEST(Table, CountsCharactersNotBytes) {
  Table table({"µs", "x"});
  table.add({"ab", "1"});
  EXPECT_EQ(table.to_text(), "µs  x\n--  -\nab  1\n");
}

TEST(Table, EscapesMarkdownAndCsv) {
  EXPECT_EQ(sample().to_markdown(), "| name | value |\n| --- | ---: |\n| a | 1 |\n| long\\|er | 12,5 |\n");
  EXPECT_EQ(sample().to_csv(), "name,value\r\na,1\r\nlong|er,\"12,5\"\r\n");
}

TEST(Table, RefusesARowOfAnotherWidth) { EXPECT_THROW(Table({"a", "b"}).add({"1"}), std::logic_error); }

}  // namespace
}  // namespace retrosim
