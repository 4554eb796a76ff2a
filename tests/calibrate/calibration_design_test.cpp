#include "calibrate/calibration_design.h"

#include <gtest/gtest.h>

#include <set>

namespace retrosim {
namespace {

GpuSpec h100() { return find_gpu_spec("h100-sxm"); }

TEST(CalibrationDesign, TheSameNumbersGiveTheSameCase) {
  for (const int index : {0, 7, kFirstAttentionCase, kFirstAttentionCase + 7}) {
    const CalibrationCase a = calibration_case(index, 1, h100());
    const CalibrationCase b = calibration_case(index, 1, h100());
    EXPECT_EQ(a.config.context, b.config.context);
    EXPECT_EQ(a.config.batch, b.config.batch);
    EXPECT_EQ(a.seen_share, b.seen_share);
    EXPECT_EQ(a.more_seen_shares, b.more_seen_shares);
  }
}

TEST(CalibrationDesign, CasesAreValidAndFitTheGpu) {
  for (int i = 0; i < 300; ++i) {
    for (const int index : {i, kFirstAttentionCase + i}) {
      const CalibrationCase one = calibration_case(index, 1, h100());
      EXPECT_NO_THROW(validate(one.config)) << index;
      EXPECT_LE(device_bytes(one), static_cast<double>(h100().hbm_capacity_bytes) / 2) << index;
      EXPECT_LE(one.config.window * one.config.llm.query_group(), 256) << index;
      EXPECT_LE(one.config.batch * one.config.window, 4096) << index;
      EXPECT_EQ(one.attention_alone, index >= kFirstAttentionCase);
    }
  }
}

TEST(CalibrationDesign, ThreeCasesInFourAreSparse) {
  int sparse = 0;
  int windowed = 0;
  for (int index = 0; index < 64; ++index) {
    const CalibrationCase one = calibration_case(index, 1, h100());
    EXPECT_LE(one.config.batch * one.config.window, 2048);
    sparse += one.config.policy->name() == "quest" ? 1 : 0;
    windowed += one.config.window > 1 ? 1 : 0;
  }
  EXPECT_EQ(sparse, 48);
  EXPECT_GT(windowed, 16);
}

TEST(CalibrationDesign, AttentionAloneHasOlderRowsNarrowCachesAndMoreListsThanSms) {
  int narrow = 0;
  int windows = 0;
  int crowded = 0;
  std::set<int> pages;
  for (int i = 0; i < 500; ++i) {
    const CalibrationCase one = calibration_case(kFirstAttentionCase + i, 1, h100());
    narrow += one.config.kv_dtype == DType::fp8_e4m3 ? 1 : 0;
    windows += one.config.window > 1 ? 1 : 0;
    crowded += one.config.batch * one.config.llm.num_kv_heads > h100().sm_count ? 1 : 0;
    pages.insert(one.config.page_size);
    EXPECT_EQ(one.more_seen_shares.empty(), one.config.window == 1);
  }
  EXPECT_GT(narrow, 200);
  EXPECT_GT(windows, 300);
  EXPECT_GT(crowded, 100);
  EXPECT_EQ(pages, (std::set{8, 16, 32, 64}));
}

}  // namespace
}  // namespace retrosim
