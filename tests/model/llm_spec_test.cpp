#include "model/llm_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/embedded.h"
#include "model/error.h"

namespace retrosim {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json config_of(std::string_view name) {
  for (const embedded::File& file : embedded::llm_specs()) {
    if (file.name == name) return json::parse(file.text);
  }
  throw std::logic_error("no such spec");
}

std::string refusal(const json& config) {
  try {
    parse_llm_spec(config.dump(), "config.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

class BundledLlm : public ::testing::TestWithParam<std::string> {};

TEST_P(BundledLlm, LoadsAndIsConsistent) {
  const LlmSpec llm = find_llm_spec(GetParam());
  EXPECT_EQ(llm.name, GetParam());
  EXPECT_EQ(llm.num_q_heads % llm.num_kv_heads, 0);
  EXPECT_EQ(llm.layer_is_moe.size(), static_cast<std::size_t>(llm.num_layers));
  EXPECT_EQ(llm.layer_sliding_window.size(), static_cast<std::size_t>(llm.num_layers));
  EXPECT_GT(llm.num_params(), 0);
}

INSTANTIATE_TEST_SUITE_P(All, BundledLlm, ::testing::ValuesIn(bundled_llm_names()), [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace_if(
      name, [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
});

// Published totals. Llama-3.1-8B by hand: per layer 4096*(2*4096 + 2*1024) = 41,943,040 attention, 3*4096*14336 =
// 176,160,768 MLP, 8,192 norms; times 32 = 6,979,584,000 + ... = 6,979,588,096 with the final norm; embeddings
// 2*128256*4096 = 1,050,673,152; sum 8,030,261,248, as its model card's safetensors header says.
TEST(LlmSpec, ParameterCountsAreThePublishedOnes) {
  EXPECT_EQ(find_llm_spec("llama-3.1-8b").num_params(), 8'030'261'248);
  EXPECT_EQ(find_llm_spec("deepseek-r1-distill-llama-8b").num_params(), 8'030'261'248);
  EXPECT_EQ(find_llm_spec("llama-3.1-70b").num_params(), 70'553'706'496);
  EXPECT_EQ(find_llm_spec("llama-2-7b").num_params(), 6'738'415'616);
  EXPECT_EQ(find_llm_spec("smollm2-135m").num_params(), 134'515'008);  // tied: one 49152 x 576 table
  EXPECT_EQ(find_llm_spec("qwen2.5-14b").num_params(), 14'770'033'664);
  EXPECT_EQ(find_llm_spec("qwen2.5-32b").num_params(), 32'763'876'352);
  EXPECT_EQ(find_llm_spec("qwen3-32b").num_params(), 32'762'123'264);
  EXPECT_EQ(find_llm_spec("qwen3-30b-a3b").num_params(), 30'532'122'624);
  EXPECT_EQ(find_llm_spec("mixtral-8x7b").num_params(), 46'702'792'704);
}

TEST(LlmSpec, ActiveParametersCountTheChosenExperts) {
  // Mixtral: 41,943,040 attention + 4096*8 router + 2 of 8 experts at 3*4096*14336.
  EXPECT_EQ(find_llm_spec("mixtral-8x7b").active_params_of_layer(0), 41'943'040 + 32'768 + 2 * 176'160'768);
  EXPECT_EQ(find_llm_spec("llama-3.1-8b").active_params_of_layer(31), 41'943'040 + 176'160'768);
}

TEST(LlmSpec, KvBytesPerToken) {
  // 2 (K and V) * 32 layers * 8 heads * 128 * 2 bytes.
  EXPECT_EQ(find_llm_spec("llama-3.1-8b").kv_bytes_per_token(DType::bf16), 131'072);
  EXPECT_EQ(find_llm_spec("llama-3.1-8b").kv_bytes_per_token(DType::fp8_e4m3), 65'536);
}

TEST(LlmSpec, RopeScalingOldAndNewSpelling) {
  json config = config_of("llama-3.1-8b");
  const LlmSpec before = parse_llm_spec(config.dump(), "old");
  EXPECT_DOUBLE_EQ(before.rope_scaling_factor, 8);
  EXPECT_EQ(before.rope_original_max_position, 8192);
  json rope = config["rope_scaling"];
  rope["rope_theta"] = config["rope_theta"];
  config.erase("rope_scaling");
  config.erase("rope_theta");
  config["rope_parameters"] = rope;
  const LlmSpec after = parse_llm_spec(config.dump(), "new");
  EXPECT_DOUBLE_EQ(after.rope_theta, before.rope_theta);
  EXPECT_DOUBLE_EQ(after.rope_scaling_factor, before.rope_scaling_factor);
}

TEST(LlmSpec, QwenWindowsOnlyLayersFromMaxWindowLayers) {
  json config = config_of("qwen2.5-14b");
  EXPECT_EQ(parse_llm_spec(config.dump(), "").layer_sliding_window[47], 0);  // use_sliding_window is false
  config["use_sliding_window"] = true;
  config["max_window_layers"] = 40;
  const LlmSpec llm = parse_llm_spec(config.dump(), "");
  EXPECT_EQ(llm.layer_sliding_window[39], 0);
  EXPECT_EQ(llm.layer_sliding_window[40], 131072);
}

TEST(LlmSpec, MistralWindowsEveryLayer) {
  json config = config_of("llama-2-7b");
  config["model_type"] = "mistral";
  config["sliding_window"] = 1024;
  EXPECT_EQ(parse_llm_spec(config.dump(), "").layer_sliding_window, std::vector<std::int64_t>(32, 1024));
  config["sliding_window"] = nullptr;
  EXPECT_EQ(parse_llm_spec(config.dump(), "").layer_sliding_window, std::vector<std::int64_t>(32, 0));
  config.erase("sliding_window");  // MistralConfig's default
  EXPECT_EQ(parse_llm_spec(config.dump(), "").layer_sliding_window, std::vector<std::int64_t>(32, 4096));
}

TEST(LlmSpec, LayerTypesDecideLayerByLayer) {
  json config = config_of("qwen3-32b");
  config["sliding_window"] = 512;
  config["layer_types"] = std::vector<std::string>(64, "full_attention");
  config["layer_types"][3] = "sliding_attention";
  const LlmSpec llm = parse_llm_spec(config.dump(), "");
  EXPECT_EQ(llm.layer_sliding_window[2], 0);
  EXPECT_EQ(llm.layer_sliding_window[3], 512);
  config["layer_types"][5] = "linear_attention";
  EXPECT_THAT(refusal(config), HasSubstr("layer_types"));
}

TEST(LlmSpec, MlpOnlyLayersAndSparseStep) {
  json config = config_of("qwen3-30b-a3b");
  config["decoder_sparse_step"] = 2;
  config["mlp_only_layers"] = {3};
  const LlmSpec llm = parse_llm_spec(config.dump(), "");
  // Layers 1, 3, 5, ... would be MoE ((layer + 1) % 2 == 0), but 3 is dense.
  EXPECT_EQ(llm.layer_is_moe[0], 0);
  EXPECT_EQ(llm.layer_is_moe[1], 1);
  EXPECT_EQ(llm.layer_is_moe[3], 0);
}

struct Refusal {
  const char* field;
  json value;
};

class RefusedField : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusedField, IsNamed) {
  json config = config_of("llama-3.1-8b");
  config[GetParam().field] = GetParam().value;
  const std::string message = refusal(config);
  EXPECT_THAT(message, HasSubstr(GetParam().field));
  EXPECT_THAT(message, HasSubstr("config.json"));
}

INSTANTIATE_TEST_SUITE_P(
    LlmSpec, RefusedField,
    ::testing::Values(Refusal{"model_type", "gpt2"}, Refusal{"model_type", 7}, Refusal{"hidden_size", "4096"},
                      Refusal{"hidden_size", 0}, Refusal{"hidden_size", 4096.5}, Refusal{"num_attention_heads", 0},
                      Refusal{"num_key_value_heads", 5}, Refusal{"num_hidden_layers", 1'000'000},
                      Refusal{"num_hidden_layers", -1}, Refusal{"vocab_size", 1e30}, Refusal{"head_dim", 127},
                      Refusal{"hidden_act", "gelu"}, Refusal{"attention_bias", true}, Refusal{"mlp_bias", true},
                      Refusal{"quantization_config", json{{"quant_method", "awq"}}},
                      Refusal{"is_encoder_decoder", true}, Refusal{"attention_multiplier", 0.5},
                      Refusal{"logits_soft_cap", 30.0}, Refusal{"q_lora_rank", 1536},
                      Refusal{"cross_attention_layers", json::array({3, 8})}, Refusal{"num_local_experts", 8},
                      Refusal{"sliding_window", 4096}, Refusal{"torch_dtype", "int3"}, Refusal{"rope_theta", "big"},
                      Refusal{"partial_rotary_factor", 0.5}, Refusal{"rms_norm_eps", -1.0},
                      Refusal{"max_position_embeddings", nullptr}));

TEST(LlmSpec, RefusesOtherRopeTypesByName) {
  json config = config_of("llama-3.1-8b");
  config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
  EXPECT_THAT(refusal(config), HasSubstr("rope_scaling.rope_type"));
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  EXPECT_THAT(refusal(config), HasSubstr("rope_scaling.type"));
}

TEST(LlmSpec, IgnoresKeysThatDoNotDescribeArchitecture) {
  json config = config_of("llama-3.1-8b");
  config["my_note"] = "hello";
  config["attention_dropout"] = 0.1;
  config["cross_attention_layers"] = nullptr;
  EXPECT_EQ(refusal(config), "accepted");
}

TEST(LlmSpec, RefusesSizesWhoseProductOverflows) {
  json config = config_of("qwen3-30b-a3b");
  config["num_hidden_layers"] = 4096;
  config["hidden_size"] = 1 << 20;
  config["moe_intermediate_size"] = 1 << 22;
  EXPECT_THAT(refusal(config), HasSubstr("1e15 parameters"));
}

TEST(LlmSpec, NotJsonAndMissingFilesAreRefused) {
  EXPECT_THROW(parse_llm_spec("{\"model_type\": ", "config.json"), InputError);
  EXPECT_THROW(parse_llm_spec("[]", "config.json"), InputError);
  EXPECT_THROW(find_llm_spec("no-such-model"), InputError);
}

TEST(LlmSpec, ReadsAFolderWithAConfig) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "llm_spec_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << config_of("smollm2-135m").dump();
  EXPECT_EQ(find_llm_spec(folder.string()).num_layers, 30);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace retrosim
