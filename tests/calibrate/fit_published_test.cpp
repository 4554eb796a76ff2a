#include "calibrate/fit_published.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "calibrate/published_tables.h"
#include "model/error.h"

namespace retrosim {
namespace {

const std::filesystem::path kTables = RETROSIM_SHARED_DIR "/measured";

class FitPublished : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kTables / "h100_probe.txt")) GTEST_SKIP() << "no ../shared/measured";
  }
};

TEST_F(FitPublished, ReproducesTheBundledProfileAndReport) {
  const PublishedFit fit = fit_published_tables(kTables);
  const GpuProfile bundled = find_gpu_profile("h100-sxm");
  ASSERT_EQ(fit.profile.kinds.size(), bundled.kinds.size());
  for (const auto& [key, kind] : bundled.kinds) {
    const KindProfile& again = fit.profile.kinds.at(key);
    EXPECT_NEAR(again.fixed_latency_s.value, kind.fixed_latency_s.value, 1e-3 * kind.fixed_latency_s.value) << key;
    EXPECT_NEAR(again.hbm_efficiency.value, kind.hbm_efficiency.value, 1e-3) << key;
    EXPECT_EQ(again.hold_out.samples, kind.hold_out.samples) << key;
  }
  EXPECT_EQ(fit.profile.sample_files.size(), 6U);
}

TEST_F(FitPublished, BeatsTheNaiveRooflineOnSamplesItHasNotSeen) {
  const PublishedFit fit = fit_published_tables(kTables);
  double fitted = 0;
  double naive = 0;
  int held_out = 0;
  for (const FitResidual& residual : fit.residuals) {
    if (!residual.held_out || residual.kind != "matmul.bfloat16") continue;
    fitted += std::abs(residual.predicted_us / residual.measured_us - 1);
    naive += std::abs(residual.naive_us / residual.measured_us - 1);
    ++held_out;
  }
  EXPECT_GT(held_out, 200);
  EXPECT_LT(fitted, 0.5 * naive);
  EXPECT_THAT(fit_report_markdown(fit), ::testing::HasSubstr("matmul.bfloat16"));
  EXPECT_THAT(hold_out_csv(fit), ::testing::StartsWith("kind,regime,label,measured_us,predicted_us,naive_us,"));
}

TEST(PublishedTables, MalformedTablesAreRefusedByName) {
  const auto file = std::filesystem::path(::testing::TempDir()) / "gemm.csv";
  std::ofstream(file) << "gpu,m,n,k,latency_us,weights_l2_resident,nonmonotone_flag\nx,1,2,abc,4,0,0\n";
  EXPECT_THROW(read_gemm_rows(file), InputError);
  std::ofstream(file) << "gpu,m,n,latency_us\nx,1,2,4\n";
  EXPECT_THROW(read_gemm_rows(file), InputError);
  EXPECT_THROW(read_gemm_rows("/nonexistent.csv"), InputError);
  std::ofstream(file) << "nothing of a probe\n";
  EXPECT_THROW(read_probe(file), InputError);
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace retrosim
