#include "model/json_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/error.h"

namespace retrosim {
namespace {

using ::testing::HasSubstr;

template <typename Action>
std::string refusal(Action action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(JsonReader, NamesFileFieldValueAndExpectation) {
  const nlohmann::json json = parse_json(R"({"layer": {"heads": "eight"}})", "f.json");
  const JsonReader reader(json, "f.json");
  EXPECT_EQ(refusal([&] { reader.object("layer").integer("heads", 1, 9); }),
            "f.json: layer.heads: got \"eight\", expected an integer in [1, 9]");
}

TEST(JsonReader, IntegersMustBeIntegersInRange) {
  const nlohmann::json json =
      parse_json(R"({"a": 3, "b": 3.0, "c": 18446744073709551615, "d": -1, "e": null})", "f.json");
  const JsonReader reader(json, "f.json");
  EXPECT_EQ(reader.integer("a", 3, 3), 3);
  EXPECT_NE(refusal([&] { reader.integer("a", 4, 9); }), "accepted");
  EXPECT_NE(refusal([&] { reader.integer("b", 0, 9); }), "accepted");
  EXPECT_NE(refusal([&] { reader.integer("c", 0, INT64_MAX); }), "accepted");
  EXPECT_NE(refusal([&] { reader.integer("d", 0, 9); }), "accepted");
  EXPECT_EQ(reader.integer_or("e", 7, 0, 9), 7);  // null counts as absent
  EXPECT_EQ(reader.integer_or("f", 7, 0, 9), 7);
}

TEST(JsonReader, FinishNamesTheFirstUnknownKey) {
  const nlohmann::json json = parse_json(R"({"a": 1, "b": 2, "c": 3})", "f.json");
  const JsonReader reader(json, "f.json");
  EXPECT_EQ(reader.integer("a", 0, 9), 1);
  EXPECT_FALSE(reader.is_known("b"));
  reader.ignore("b");
  EXPECT_TRUE(reader.is_known("b"));
  EXPECT_THAT(refusal([&] { reader.finish(); }), HasSubstr("f.json: c"));
  EXPECT_TRUE(reader.has("c"));
  EXPECT_EQ(refusal([&] { reader.finish(); }), "accepted");
}

TEST(JsonReader, RefusesBadTextDeepNestingAndOverflowingNumbers) {
  EXPECT_THROW(parse_json("{", "f.json"), InputError);
  EXPECT_THROW(parse_json(std::string(100, '[') + std::string(100, ']'), "f.json"), InputError);
  EXPECT_THROW(parse_json("1e999", "f.json"), InputError);
  EXPECT_THROW(read_json_file("/nonexistent/f.json"), InputError);
  const nlohmann::json list = parse_json("[1]", "f.json");
  EXPECT_THROW(JsonReader(list, "f.json"), InputError);
}

}  // namespace
}  // namespace retrosim
