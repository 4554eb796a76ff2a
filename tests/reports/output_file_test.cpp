#include "reports/output_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "model/error.h"

namespace retrosim {
namespace {

std::string text_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

TEST(OutputFile, IsReplacedWhole) {
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "retrosim_output_file";
  write_output_file(file, "one");
  write_output_file(file, "two");
  EXPECT_EQ(text_of(file), "two");
  std::filesystem::remove(file);
}

TEST(OutputFile, NamesWhatCannotBeWritten) {
  EXPECT_THROW(write_output_file("/nowhere/file", "x"), InputError);
  EXPECT_THROW(require_writable("/nowhere/file", "--out"), InputError);
  EXPECT_THROW(require_writable(testing::TempDir(), "--out"), InputError);
  EXPECT_THROW(require_writable("", "--out"), InputError);
}

}  // namespace
}  // namespace retrosim
