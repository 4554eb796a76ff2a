#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "kernels/checkpoint/llm_weights.h"
#include "kernels/checkpoint/safetensors.h"
#include "model/error.h"
#include "tests/kernels/random_model.h"

namespace retrosim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string container(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

std::vector<float> read(const std::string& file, std::string_view name, std::vector<std::int64_t> shape) {
  std::vector<float> values;
  Safetensors(std::as_bytes(std::span(file)), "file").append_to(name, shape, values);
  return values;
}

std::string refusal(const std::string& file, std::vector<std::int64_t> shape = {2}) {
  try {
    read(file, "a", std::move(shape));
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Safetensors, ReadsEveryDtype) {
  const float f32[] = {1.5F, -2.0F};
  // bfloat16 is the upper half of float32: 1.5 = 0x3FC0, -2 = 0xC000. Half precision: 1.5 = 0x3E00, -2 = 0xC000,
  // 2^-24 = 0x0001 (the smallest subnormal), 65504 = 0x7BFF (the largest).
  const std::uint16_t bf16[] = {0x3FC0, 0xC000};
  const std::uint16_t f16[] = {0x3E00, 0xC000, 0x0001, 0x7BFF};
  const std::string data = std::string(reinterpret_cast<const char*>(f32), 8) +
                           std::string(reinterpret_cast<const char*>(bf16), 4) +
                           std::string(reinterpret_cast<const char*>(f16), 8);
  const std::string file = container(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]},"c":{"dtype":"F16","shape":[4],"data_offsets":[12,20]}})",
      data);
  EXPECT_THAT(read(file, "a", {2}), ElementsAre(1.5F, -2.0F));
  EXPECT_THAT(read(file, "b", {1, 2}), ElementsAre(1.5F, -2.0F));
  EXPECT_THAT(read(file, "c", {4}), ElementsAre(1.5F, -2.0F, std::ldexp(1.0F, -24), 65504.0F));
}

TEST(Safetensors, RefusesDamage) {
  const std::string eight(8, '\0');
  const auto one = [](const std::string& entry) { return R"({"a":)" + entry + "}"; };
  EXPECT_THAT(refusal("abc"), HasSubstr("cut off"));
  EXPECT_THAT(refusal(std::string(8, '\xFF')), HasSubstr("header length: got 18446744073709551615"));
  EXPECT_THAT(refusal(container("{", eight)), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(container("[]", eight)), HasSubstr("an object"));
  EXPECT_THAT(refusal(container(one(R"({"dtype":"I64","shape":[1],"data_offsets":[0,8]})"), eight)),
              HasSubstr("a.dtype: got \"I64\", expected F32, BF16 or F16"));
  EXPECT_THAT(refusal(container(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,16]})"), eight)),
              HasSubstr("a.data_offsets"));
  EXPECT_THAT(refusal(container(one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), eight)),
              HasSubstr("[begin, end] of 12 bytes"));
  EXPECT_THAT(refusal(container(one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), eight)),
              HasSubstr("a.shape"));
  EXPECT_THAT(refusal(container(
                  one(R"({"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]})"), eight)),
              HasSubstr("a.shape"));
  EXPECT_THAT(refusal(container(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"), eight)),
              HasSubstr("no gap"));
  EXPECT_THAT(refusal(container(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"), eight)),
              HasSubstr("end with the file"));
  EXPECT_THAT(refusal(container(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1})"), eight)),
              HasSubstr("a.x"));
  const std::string good = container(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), eight);
  EXPECT_EQ(refusal(good), "accepted");
  EXPECT_THAT(refusal(good, {1, 2}), HasSubstr("a: got [2], expected [1, 2]"));
  EXPECT_THAT(refusal(container("{}", "")), HasSubstr("a: got nothing"));
  EXPECT_THAT(refusal(container(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"),
                                eight.substr(4) + "\xFF\xFF\xFF\x7F")),
              HasSubstr("finite weights"));
}

class Checkpoint : public ::testing::Test {
 protected:
  void SetUp() override { kernels::write_checkpoint(model, folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) /
      (std::string("retrosim_checkpoint_") + testing::UnitTest::GetInstance()->current_test_info()->name());
  LlmWeights model = kernels::random_model({}, 41);
};

TEST_F(Checkpoint, IsReadAsItWasWritten) {
  const LlmWeights read_back = load_llm_weights(folder);
  EXPECT_EQ(read_back.llm.num_layers, 4);
  EXPECT_EQ(read_back.embedding, model.embedding);
  EXPECT_EQ(read_back.head().data(), read_back.embedding.data());  // tied
  for (int layer = 0; layer < 4; ++layer) {
    EXPECT_EQ(read_back.layers[layer].qkv, model.layers[layer].qkv);
    EXPECT_EQ(read_back.layers[layer].o, model.layers[layer].o);
    EXPECT_EQ(read_back.layers[layer].gate_up, model.layers[layer].gate_up);
    EXPECT_EQ(read_back.layers[layer].down, model.layers[layer].down);
    EXPECT_EQ(read_back.layers[layer].input_norm, model.layers[layer].input_norm);
    EXPECT_EQ(read_back.layers[layer].post_attention_norm, model.layers[layer].post_attention_norm);
  }
  EXPECT_EQ(read_back.final_norm, model.final_norm);
}

TEST_F(Checkpoint, IsRefusedWhenAnythingIsMissingOrDamaged) {
  const auto message = [&]() -> std::string {
    try {
      load_llm_weights(folder);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  std::filesystem::resize_file(folder / "model.safetensors",
                               std::filesystem::file_size(folder / "model.safetensors") - 4);
  EXPECT_THAT(message(), HasSubstr("model.safetensors"));
  LlmWeights narrower = model;
  narrower.llm.intermediate_size = 23;
  kernels::write_checkpoint(narrower, folder);
  kernels::write_checkpoint(model, folder / "other");
  std::filesystem::copy(folder / "other" / "model.safetensors", folder,
                        std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(message(), HasSubstr("mlp.gate_proj.weight: got [24, 32], expected [23, 32]"));
  std::filesystem::remove(folder / "model.safetensors");
  EXPECT_THAT(message(), HasSubstr("a readable file"));
  std::filesystem::remove(folder / "config.json");
  EXPECT_THAT(message(), HasSubstr("config.json"));
}

}  // namespace
}  // namespace retrosim
