#include "model/gpu_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/tokenizer.hpp>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "model/error.h"

namespace retrosim {
namespace {

using ::testing::HasSubstr;

class BundledGpu : public ::testing::TestWithParam<std::string> {};

TEST_P(BundledGpu, LoadsAndSurvivesARoundTrip) {
  const GpuSpec spec = find_gpu_spec(GetParam());
  EXPECT_EQ(spec.name, GetParam());
  EXPECT_GT(spec.sm_count, 0);
  EXPECT_GE(spec.bf16_flops_per_s, spec.cuda_core_flops_per_s);
  EXPECT_EQ(parse_gpu_spec(to_json_text(spec), "again"), spec);
}

INSTANTIATE_TEST_SUITE_P(All, BundledGpu, ::testing::ValuesIn(bundled_gpu_names()), [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(GpuSpec, H100FiguresAreExact) {
  const GpuSpec spec = find_gpu_spec("h100-sxm");
  EXPECT_EQ(spec.hbm_bandwidth_bytes_per_s, 3.35e12);
  EXPECT_EQ(spec.hbm_capacity_bytes, 85'899'345'920);  // 80 * 2^30
  EXPECT_EQ(spec.l2_bytes, 52'428'800);                // 50 * 2^20
  EXPECT_EQ(spec.peak_flops_per_s(DType::bf16), 989e12);
  EXPECT_EQ(spec.peak_flops_per_s(DType::fp8_e4m3), 1978e12);
  EXPECT_EQ(spec.peak_flops_per_s(DType::f32), 66.9e12);
}

TEST(GpuSpec, WithoutFp8ArithmeticFp8RunsAsBf16) {
  const GpuSpec spec = find_gpu_spec("a100-sxm");
  EXPECT_EQ(spec.fp8_flops_per_s, 0);
  EXPECT_EQ(spec.peak_flops_per_s(DType::fp8_e4m3), spec.bf16_flops_per_s);
}

std::string refusal(const nlohmann::json& spec) {
  try {
    parse_gpu_spec(spec.dump(), "gpu.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(GpuSpec, RefusesUnknownMissingAndImpossibleFields) {
  const nlohmann::json good = nlohmann::json::parse(to_json_text(find_gpu_spec("h100-sxm")));
  EXPECT_EQ(refusal(good), "accepted");
  for (const auto& item : good.items()) {
    nlohmann::json missing = good;
    missing.erase(item.key());
    EXPECT_THAT(refusal(missing), HasSubstr(item.key()));
  }
  nlohmann::json spec = good;
  spec["tensor_cores"] = 4;
  EXPECT_THAT(refusal(spec), HasSubstr("tensor_cores"));
  spec = good;
  spec["hbm_bandwidth_bytes_per_s"] = nullptr;  // null has a meaning for some figures only
  EXPECT_THAT(refusal(spec), HasSubstr("hbm_bandwidth_bytes_per_s"));
  spec = good;
  spec["sm_count"] = 132.5;
  EXPECT_THAT(refusal(spec), HasSubstr("sm_count"));
  spec = good;
  spec["schema"] = "retrosim.gpu-spec/2";
  EXPECT_THAT(refusal(spec), HasSubstr("schema"));
  EXPECT_THROW(parse_gpu_spec(R"({"hbm_bandwidth_bytes_per_s": 1e999})", "gpu.json"), InputError);
}

TEST(GpuSpec, UnknownNameListsTheBundledOnes) {
  try {
    find_gpu_spec("h100");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("h100-sxm"));
  }
}

/// The table that the bundled specs were made from, where it is at hand.
TEST(GpuSpec, AgreesWithTheSharedTable) {
  std::ifstream stream(RETROSIM_SHARED_DIR "/measured/gpu_specs.csv");
  if (!stream) GTEST_SKIP() << "no ../shared/measured/gpu_specs.csv";
  const auto split = [](const std::string& line) {
    const boost::tokenizer<boost::escaped_list_separator<char>> cells(line);
    return std::vector<std::string>(cells.begin(), cells.end());
  };
  std::string line;
  std::getline(stream, line);
  const std::vector<std::string> header = split(line);
  int compared = 0;
  while (std::getline(stream, line)) {
    std::map<std::string, std::string> row;
    const std::vector<std::string> cells = split(line);
    for (std::size_t i = 0; i < cells.size(); ++i) row[header[i]] = cells[i];
    std::string name = row["gpu"];
    std::ranges::replace(name, '_', '-');
    const GpuSpec spec = find_gpu_spec(name);
    const auto number = [&](const char* column) { return row[column].empty() ? 0.0 : std::stod(row[column]); };
    EXPECT_DOUBLE_EQ(spec.hbm_bandwidth_bytes_per_s, number("mem_bw_GBps") * 1e9) << name;
    EXPECT_NEAR(static_cast<double>(spec.hbm_capacity_bytes), number("mem_capacity_GiB") * 1073741824.0, 0.5) << name;
    EXPECT_DOUBLE_EQ(spec.bf16_flops_per_s, number("bf16_dense_tflops") * 1e12) << name;
    EXPECT_DOUBLE_EQ(spec.fp8_flops_per_s, number("fp8_dense_tflops") * 1e12) << name;
    EXPECT_DOUBLE_EQ(spec.int8_ops_per_s, number("int8_dense_tops") * 1e12) << name;
    EXPECT_DOUBLE_EQ(spec.interconnect_bandwidth_bytes_per_s, number("intra_node_bw_GBps_one_dir") * 1e9) << name;
    EXPECT_DOUBLE_EQ(spec.pcie_bandwidth_bytes_per_s, number("pcie_bw_GBps_one_dir") * 1e9) << name;
    EXPECT_EQ(spec.gpus_per_node, static_cast<int>(number("gpus_per_node"))) << name;
    if (!row["sm_count_NOT_IN_SOURCE"].empty()) {
      EXPECT_EQ(spec.sm_count, static_cast<int>(number("sm_count_NOT_IN_SOURCE"))) << name;
    }
    ++compared;
  }
  EXPECT_EQ(compared, 14);
}

}  // namespace
}  // namespace retrosim
