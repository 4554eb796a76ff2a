#include "calibrate/live/live_validation.h"

#include <gtest/gtest.h>

#include "calibrate/live/live_grid.h"
#include "model/error.h"

namespace retrosim {
namespace {

/// A live run that took exactly `factor` times what is simulated.
LiveResult as_simulated(const LiveConfig& live, const GpuProfile& gpu, double factor) {
  LiveResult result;
  result.config = live;
  result.gpu = "test";
  result.sm_count = 132;
  result.first_context = live.context;
  result.step_us = {1};
  const DecodeConfig config = decode_config(live, 132);
  result.layers = demand_without_unseen(config).layers;
  const LivePrediction predicted = predict(result, gpu);
  result.step_us = {factor * predicted.step_us};
  result.without_products_us = {factor * predicted.without_products_us};
  for (const auto& [name, us] : predicted.op_us) result.ops.push_back({.name = name, .launches = 1, .latency_us = us});
  return result;
}

class ValidateLive : public ::testing::Test {
 protected:
  GpuProfile gpu = find_gpu_profile("h100-sxm");
  std::vector<LiveConfig> grid = live_grid({.seed = 5, .points = 4});
};

TEST_F(ValidateLive, FindsNoErrorWhereThereIsNone) {
  std::vector<LiveResult> results;
  for (const LiveConfig& live : grid) results.push_back(as_simulated(live, gpu, 1));
  const LiveValidation validation = validate_live(results, gpu);
  EXPECT_EQ(validation.steps.rows, static_cast<std::int64_t>(grid.size()));
  EXPECT_NEAR(validation.steps.mape, 0, 1e-9);
  EXPECT_NEAR(validation.without_products.worst_abs_error, 0, 1e-9);
  EXPECT_EQ(validation.overhead.size(), 4U);
  EXPECT_EQ(validation.overhead_within, 1);
  for (const NamedErrors& op : validation.by_op) EXPECT_NEAR(op.errors.mape, 0, 1e-9) << op.name;
  EXPECT_LT(validation.roofline.bias, 0) << "peak numbers are faster than any profile";
}

TEST_F(ValidateLive, FindsTheErrorThatThereIs) {
  // Live took 1.25 times as long, so the simulation is 1 / 1.25 - 1 = -20 % off; but for one step that is right.
  std::vector<LiveResult> results;
  for (const LiveConfig& live : grid) results.push_back(as_simulated(live, gpu, results.empty() ? 1 : 1.25));
  LiveResult failed;
  failed.config = grid[0];
  failed.error = "did not run";
  results.push_back(failed);
  const LiveValidation validation = validate_live(results, gpu);
  const auto rows = static_cast<double>(grid.size());
  EXPECT_NEAR(validation.steps.mape, 0.2 * (rows - 1) / rows, 1e-9);
  EXPECT_NEAR(validation.steps.worst_abs_error, 0.2, 1e-9);
  EXPECT_NEAR(validation.rows.front().error, -0.2, 1e-9);
  EXPECT_NEAR(validation.rows.back().error, 0, 1e-9);
  EXPECT_EQ(validation.failures, std::vector<std::string>{"did not run"});
}

TEST_F(ValidateLive, StepsThatReuseASelectionAreAveragedAsTheyCome) {
  LiveConfig live;
  live.policy = "reuse";  // every 4th position selects
  live.layers = 4;
  live.context = 4096;
  LiveResult result = as_simulated(live, gpu, 1);
  result.first_context = 4097;  // position 4096 selects, 4097 to 4099 do not
  result.step_us = {40, 10, 11, 12, 44, 11, 11, 10};
  // Medians: of (40, 44) 42, of (10, 11, 12, 11, 11, 10) 11; (42 + 3 * 11) / 4.
  EXPECT_DOUBLE_EQ(measured_step_us(result), 18.75);
}

TEST_F(ValidateLive, ARunWithoutItsDemandIsRefused) {
  LiveResult result = as_simulated(grid[0], gpu, 1);
  result.layers.pop_back();
  EXPECT_THROW(predict(result, gpu), InputError);
}

TEST(LivePrediction, ACopyBesideTheStepIsFreeUntilItIsLongerThanTheStep) {
  const GpuProfile gpu = find_gpu_profile("h100-sxm");
  std::vector<double> us;
  for (const LiveConfig& live : overlap_grid(1)) {
    LiveResult result;
    result.config = live;
    result.sm_count = 132;
    result.first_context = live.context;
    result.step_us = {1};
    result.layers = demand_without_unseen(decode_config(live, 132)).layers;
    us.push_back(predict(result, gpu).step_us);
  }
  ASSERT_EQ(us.size(), 6U);
  EXPECT_LT(us[1] / us[0], 1.05);  // 8 MB
  EXPECT_GE(us[5], 256e6 / gpu.pcie_h2d_bytes_per_s * 1e6);
}

}  // namespace
}  // namespace retrosim
