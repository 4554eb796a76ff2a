#include "sim/simulate.h"

#include <gtest/gtest.h>

#include <map>

#include "model/error.h"
#include "sim/decode_simulation.h"
#include "sim/percentile.h"

namespace retrosim {
namespace {

const GpuProfile& h100() {
  static const GpuProfile profile = find_gpu_profile("h100-sxm");
  return profile;
}

DecodeConfig llama(const char* policy, int window = 1, double budget = 0.15) {
  static const LlmSpec llm = find_llm_spec("llama-3.1-8b");  // 32 layers, 32 query and 8 KV heads of 128
  DecodeConfig config;
  config.llm = llm;
  config.policy = make_policy(policy, {.budget = budget});
  config.window = window;
  config.context = 32768;
  config.batch = 1;
  return config;
}

// One in six loaded pages is unseen by the query before, and by each of the older ones.
StepDemand with_unseen(const DecodeConfig& config, std::int64_t context_growth = 0) {
  StepDemand demand = demand_without_unseen(config);
  demand.context += context_growth;
  for (LayerDemand& layer : demand.layers) {
    layer.unseen_union = layer.pages_loaded / 6;
    layer.unseen_visits = layer.unseen_union * (config.window - 1);
  }
  return demand;
}

StepSummary simulate_step(const DecodeConfig& config) {
  return simulate_decode(config, h100(), {demand_without_unseen(config)}).step;
}

TEST(Percentile, IsTheNearestRank) {
  EXPECT_EQ(percentile({30, 10, 20, 40}, 0.50), 20);  // ceil(0.5 * 4) = 2nd
  EXPECT_EQ(percentile({30, 10, 20, 40}, 0.99), 40);  // ceil(3.96) = 4th
  EXPECT_EQ(percentile({30, 10, 20, 40}, 0.0), 10);
  EXPECT_EQ(percentile({5}, 0.99), 5);
  std::vector<double> ten;
  for (int i = 1; i <= 10; ++i) ten.push_back(i);
  EXPECT_EQ(percentile(ten, 0.9), 9);  // 9th, although 0.9 * 10 may round up
  EXPECT_THROW(percentile({}, 0.5), std::logic_error);
  EXPECT_THROW(percentile({1}, 1.5), std::logic_error);
}

TEST(SimulateDecode, KvReadByHand) {
  // 2048 pages, k = ceil(0.15 * 2048) = 308, all full: 4928 tokens. 30 sparse layers read 2 * 8 * 4928 * 128 * 2 bytes
  // = 20,185,088 each, 2 dense ones 2 * 8 * 32768 * 128 * 2 = 134,217,728.
  EXPECT_EQ(simulate_step(llama("quest")).kv_read_bytes, 30 * 20185088.0 + 2 * 134217728.0);
  EXPECT_EQ(simulate_step(llama("full")).kv_read_bytes, 32 * 134217728.0);
}

TEST(SimulateDecode, KvWrittenByHand) {
  // Appended: 2 * 8 * 128 * 2 = 4096 bytes in each of 32 layers. With a window, layers above l0 = 2 overwrite w-1 more.
  EXPECT_EQ(simulate_step(llama("quest")).kv_write_bytes, 32 * 4096.0);
  EXPECT_EQ(simulate_step(llama("quest", 4)).kv_write_bytes, 32 * 4096.0 + 29 * 3 * 4096.0);
}

TEST(SimulateDecode, OutputCacheByHand) {
  // (w-1) rows in 30 layers, 32 heads of 128 values of 2 bytes and one float: 32 * 260 = 8320 bytes.
  for (const int window : {1, 2, 4, 8}) {
    const DecodeConfig config = llama("quest", window);
    EXPECT_EQ(output_cache_state_bytes(config), (window - 1) * 30 * 8320);
    const StepSummary step = simulate_step(config);
    EXPECT_EQ(step.output_cache_state_bytes, (window - 1) * 30 * 8320.0);
    EXPECT_EQ(step.output_cache_read_bytes, step.output_cache_state_bytes);  // every step reads all of it
  }
  DecodeConfig config = llama("quest", 2);
  config.batch = 3;
  config.tensor_parallel_size = 4;  // 8 heads per GPU
  EXPECT_EQ(output_cache_state_bytes(config), 3 * 30 * 8 * 260);
  config.context = 1024;  // independent of the context (I5)
  EXPECT_EQ(output_cache_state_bytes(config), 3 * 30 * 8 * 260);
}

TEST(SimulateDecode, UnseenPagesByHand) {
  // 308 pages per head, 8 heads: 2464 loaded, 410 unseen by each of 3 older queries: 1230 / 8 = 153.75 per head.
  const DecodeConfig config = llama("quest", 4);
  const SimulationResult result = simulate_decode(config, h100(), {with_unseen(config)});
  EXPECT_DOUBLE_EQ(result.step.unseen_pages_mean, 153.75);
  // Older queries do 4 * 4 * 128 FLOPs per unseen token and KV head (4 query heads of 128), in 30 layers.
  const double seen = simulate_step(config).flops;
  EXPECT_DOUBLE_EQ(result.step.flops - seen, 30.0 * 1230 * 16 * 4 * 4 * 128);
}

TEST(SimulateDecode, AverageOfTheSteps) {
  const DecodeConfig config = llama("quest", 2);
  const std::vector<StepDemand> demand{with_unseen(config, 0), with_unseen(config, 1), demand_without_unseen(config)};
  const SimulationResult all = simulate_decode(config, h100(), demand);
  ASSERT_EQ(all.step_latency_us.size(), 3u);
  double latency = 0;
  double hbm = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const SimulationResult one = simulate_decode(config, h100(), {demand[i]});
    EXPECT_EQ(all.step_latency_us[i], one.step_latency_us[0]);  // no step leaves a trace in the next
    latency += one.step.latency_us_mean / 3;
    hbm += one.step.hbm_read_bytes / 3;
  }
  EXPECT_NEAR(all.step.latency_us_mean, latency, 1e-9 * latency);
  EXPECT_NEAR(all.step.hbm_read_bytes, hbm, 1e-9 * hbm);
  EXPECT_EQ(all.step.latency_us_p50, percentile(all.step_latency_us, 0.5));
  EXPECT_EQ(all.step.latency_us_p99, percentile(all.step_latency_us, 0.99));
}

TEST(SimulateDecode, ARepeatedStepIsTheSameStep) {
  const DecodeConfig config = llama("quest", 2);
  const StepDemand demand = with_unseen(config);
  DecodeSimulation simulation(config, h100());
  const TimePs first = simulation.step(demand).latency;
  EXPECT_EQ(simulation.step(demand).latency, first);
  StepDemand half = demand;
  for (LayerDemand& layer : half.layers) {
    layer.pages_loaded /= 2;
    layer.tokens_loaded /= 2;
  }
  EXPECT_LT(simulation.step(half).latency, first);
  EXPECT_EQ(simulation.step(demand).latency, first);
  EXPECT_EQ(simulation.timeline().latency_us, us_from_ps(first));
}

TEST(SimulateDecode, MoreUnseenPagesCostTimeAndFlops) {
  DecodeConfig config = llama("quest", 8);
  config.batch = 16;  // enough that attention's arithmetic shows
  const StepSummary none = simulate_step(config);
  const StepSummary some = simulate_decode(config, h100(), {with_unseen(config)}).step;
  EXPECT_GT(some.flops, none.flops);
  EXPECT_GE(some.latency_us_mean, none.latency_us_mean);
  EXPECT_EQ(some.kv_read_bytes, none.kv_read_bytes);  // I6: KV read does not depend on who uses it
}

TEST(SimulateDecode, RefusesTheImpossible) {
  const DecodeConfig config = llama("quest", 2);
  EXPECT_THROW(simulate_decode(config, h100(), {}), InputError);
  StepDemand demand = demand_without_unseen(config);
  demand.layers.pop_back();
  EXPECT_THROW(simulate_decode(config, h100(), {demand}), InputError);
  demand = demand_without_unseen(config);
  demand.layers[5].unseen_union = demand.layers[5].pages_loaded + 1;
  demand.layers[5].unseen_visits = demand.layers[5].unseen_union;
  EXPECT_THROW(simulate_decode(config, h100(), {demand}), InputError);
  demand = demand_without_unseen(config);
  demand.context = 0;
  EXPECT_THROW(simulate_decode(config, h100(), {demand}), InputError);
  DecodeConfig bad = config;
  bad.window = 0;
  EXPECT_THROW(simulate_decode(bad, h100(), {demand_without_unseen(config)}), InputError);
  DecodeSimulation simulation(config, h100());
  EXPECT_THROW(simulation.timeline(), std::logic_error);
}

}  // namespace
}  // namespace retrosim
