#include "model/gpu_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "model/error.h"
#include "model/file_hash.h"
#include "model/pricing.h"

namespace retrosim {
namespace {

using ::testing::HasSubstr;

std::string refusal(const nlohmann::json& profile) {
  try {
    parse_gpu_profile(profile.dump(), "profile.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

class ProfileOfBundledGpu : public ::testing::TestWithParam<std::string> {};

TEST_P(ProfileOfBundledGpu, SurvivesARoundTripAndCanPrice) {
  const GpuProfile profile = find_gpu_profile(GetParam());
  EXPECT_EQ(profile.name, GetParam());
  EXPECT_EQ(profile.spec, find_gpu_spec(GetParam()));
  const std::string text = to_json_text(profile);
  EXPECT_EQ(to_json_text(parse_gpu_profile(text, "again")), text);
  const Price price = Pricer(profile).price({.shape = MatmulShape{.m = 1, .n = 4096, .k = 4096}});
  EXPECT_GT(price.latency_s(), 0);
  // Two GPUs have a profile of their own; the others borrow from one of their compute capability, else from the H100.
  const bool has_own_profile = GetParam() == "h100-sxm" || GetParam() == "rtx-4090";
  EXPECT_EQ(price.provenance == Provenance::transferred, !has_own_profile);
}

INSTANTIATE_TEST_SUITE_P(All, ProfileOfBundledGpu, ::testing::ValuesIn(bundled_gpu_names()), [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(GpuProfile, StatesWhatWasMeasuredAndHowWell) {
  const GpuProfile profile = find_gpu_profile("h100-sxm");
  const KindProfile& products = profile.kinds.at("matmul.bfloat16");
  EXPECT_TRUE(products.measured);
  EXPECT_GT(products.hold_out.samples, 100);
  EXPECT_GT(products.hold_out.mape, 0);
  EXPECT_FALSE(products.by_regime.empty());
  EXPECT_FALSE(profile.kinds.at("page_score").measured);
  EXPECT_THAT(profile.kinds.at("page_score").source, HasSubstr("borrowed"));
  for (const auto& [key, kind] : profile.kinds) EXPECT_FALSE(kind.source.empty()) << key;
}

TEST(GpuProfile, TransferScalesWithTheDatasheetAndClaimsNothing) {
  const GpuProfile h100 = find_gpu_profile("h100-sxm");
  const GpuProfile a6000 = find_gpu_profile("rtx-a6000");
  // PCIe gen 4 (32 GB/s) against gen 5 (64 GB/s).
  EXPECT_DOUBLE_EQ(a6000.pcie_h2d_bytes_per_s, h100.pcie_h2d_bytes_per_s / 2);
  EXPECT_DOUBLE_EQ(a6000.l2_bandwidth_bytes_per_s, h100.l2_bandwidth_bytes_per_s * (84 * 1800.0) / (132 * 1980.0));
  for (const auto& [key, kind] : a6000.kinds) {
    EXPECT_FALSE(kind.measured) << key;
    EXPECT_EQ(kind.hold_out.samples, 0) << key;
    EXPECT_THAT(kind.source, HasSubstr("transferred from h100-sxm"));
  }
}

// Tiles and waves carry over to a GPU of the same architecture, not to another one.
TEST(GpuProfile, TablesAreTransferredWithinAGeneration) {
  EXPECT_FALSE(find_gpu_profile("h100-sxm").kinds.at("matmul.bfloat16").tables.empty());
  EXPECT_FALSE(find_gpu_profile("h200-sxm").kinds.at("matmul.bfloat16").tables.empty());
  EXPECT_TRUE(find_gpu_profile("b200-sxm").kinds.at("matmul.bfloat16").tables.empty());
  EXPECT_TRUE(find_gpu_profile("a100-sxm").kinds.at("attention.bfloat16").tables.empty());
}

TEST(GpuProfile, BorrowsFromAGpuOfItsComputeCapability) {
  const GpuProfile rtx_4090 = find_gpu_profile("rtx-4090");
  const GpuProfile l40s = find_gpu_profile("l40s");
  const auto& products = l40s.kinds.at("matmul.bfloat16");
  EXPECT_FALSE(products.measured);
  EXPECT_EQ(products.hbm_efficiency.value, rtx_4090.kinds.at("matmul.bfloat16").hbm_efficiency.value);
  EXPECT_THAT(products.source, HasSubstr("transferred from rtx-4090"));
  // The H100's own capability borrows from its default profile, not from the one of our kernels.
  EXPECT_THAT(find_gpu_profile("h200-sxm").provenance, HasSubstr("latencies of h100-sxm;"));
}

TEST(GpuProfile, MeasuredProfilesAreBundledBesideTheDefaults) {
  for (const char* name : {"h100-sxm-measured", "h200-sxm-measured"}) {
    const GpuProfile profile = find_gpu_profile(name);
    EXPECT_EQ(profile.name, name);
    EXPECT_TRUE(profile.kinds.at("attention.bfloat16").measured);
    EXPECT_FALSE(profile.kinds.at("attention.bfloat16").tables.empty());
    EXPECT_THAT(profile.provenance, HasSubstr("retrosim calibrate"));
  }
}

// One factor per generation: Ampere sustains 1 / 1.22 of the share of bandwidth that Hopper does.
TEST(GpuProfile, TransferFollowsTheGeneration) {
  const double h100 = find_gpu_profile("h100-sxm").kinds.at("matmul.bfloat16").hbm_efficiency.value;
  EXPECT_DOUBLE_EQ(find_gpu_profile("a100-sxm").kinds.at("matmul.bfloat16").hbm_efficiency.value, h100 * (1 / 1.22));
  EXPECT_DOUBLE_EQ(find_gpu_profile("b200-sxm").kinds.at("matmul.bfloat16").hbm_efficiency.value, h100);
}

TEST(GpuProfile, RefusesUnknownKeysOtherVersionsAndNonsense) {
  const nlohmann::json good = nlohmann::json::parse(to_json_text(find_gpu_profile("a100-sxm")));
  EXPECT_EQ(refusal(good), "accepted");
  nlohmann::json bad = good;
  bad["schema"] = "retrosim.gpu-profile/2";
  EXPECT_THAT(refusal(bad), HasSubstr("schema"));
  bad = good;
  bad["colour"] = 1;
  EXPECT_THAT(refusal(bad), HasSubstr("colour"));
  bad = good;
  bad["kinds"]["top_k"]["colour"] = 1;
  EXPECT_THAT(refusal(bad), HasSubstr("kinds.top_k.colour"));
  bad = good;
  bad["kinds"]["top_k"]["hbm_efficiency"]["value"] = 1.5;
  EXPECT_THAT(refusal(bad), HasSubstr("kinds.top_k.hbm_efficiency.value"));
  bad = good;
  bad["kinds"]["top_k"]["fixed_latency_s"]["low"] = 1.0;  // above the value
  EXPECT_THAT(refusal(bad), HasSubstr("kinds.top_k.fixed_latency_s"));
  bad = good;
  bad["graph_node_s"] = nullptr;
  EXPECT_THAT(refusal(bad), HasSubstr("graph_node_s"));
  bad = good;
  bad["kinds"]["top_k"]["sampled_shapes"]["flops"] = {1.0};
  EXPECT_THAT(refusal(bad), HasSubstr("sampled_shapes.flops"));
}

TEST(GpuProfile, NeverWritesWhatJsonCannotHold) {
  GpuProfile profile = find_gpu_profile("a100-sxm");
  profile.graph_node_s = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(to_json_text(profile), InputError);
}

TEST(GpuProfile, ChecksTheHashOfSamplesThatAreThere) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "gpu_profile_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "samples.csv") << "a,b\n1,2\n";
  GpuProfile profile = find_gpu_profile("a100-sxm");
  profile.sample_files = {{"samples.csv", xxh3_of_file(folder / "samples.csv")}, {"elsewhere.csv", "0123456789abcdef"}};
  std::ofstream(folder / "profile.json") << to_json_text(profile);
  EXPECT_EQ(find_gpu_profile((folder / "profile.json").string()).name, "a100-sxm");
  std::ofstream(folder / "samples.csv") << "a,b\n1,3\n";
  EXPECT_THROW(load_gpu_profile(folder / "profile.json"), InputError);
  std::filesystem::remove_all(folder);
}

TEST(GpuProfile, APathToASpecIsTransferred) {
  const auto file = std::filesystem::path(::testing::TempDir()) / "my-gpu.json";
  GpuSpec spec = find_gpu_spec("h100-sxm");
  spec.name = "my-gpu";
  spec.hbm_bandwidth_bytes_per_s *= 2;
  std::ofstream(file) << to_json_text(spec);
  const GpuProfile profile = find_gpu_profile(file.string());
  EXPECT_EQ(profile.name, "my-gpu");
  EXPECT_FALSE(profile.kinds.at("matmul.bfloat16").measured);
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace retrosim
