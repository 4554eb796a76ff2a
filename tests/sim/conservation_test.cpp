// Conservation laws of simulated steps: of grids over three policies, and of every policy in every variant.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "sim/decode_simulation.h"
#include "sim/simulate.h"

namespace retrosim {
namespace {

const GpuProfile& h100() {
  static const GpuProfile profile = find_gpu_profile("h100-sxm");
  return profile;
}

DecodeConfig llama(const std::string& policy, const PolicyParams& params, int window) {
  static const LlmSpec llm = find_llm_spec("llama-3.1-8b");  // 32 layers, 32 query and 8 KV heads of 128
  DecodeConfig config;
  config.llm = llm;
  config.policy = make_policy(policy, params);
  config.window = window;
  config.context = 8000;  // the last page is full: 500 pages
  config.batch = 1;
  return config;
}

// One in six loaded pages is unseen by the query before, and by each of the older ones.
StepDemand with_unseen(const DecodeConfig& config) {
  StepDemand demand = demand_without_unseen(config);
  for (LayerDemand& layer : demand.layers) {
    layer.unseen_union = layer.pages_loaded / 6;
    layer.unseen_visits = layer.unseen_union * (config.window - 1);
  }
  return demand;
}

StepSummary simulate_step(const DecodeConfig& config) {
  return simulate_decode(config, h100(), {demand_without_unseen(config)}).step;
}

struct Shape {
  const char* policy;
  int window;
  double budget;
  std::int64_t batch;
  int tensor_parallel_size;
};

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const char* policy : {"full", "streaming", "quest"}) {
    for (const int window : {1, 2, 8}) {
      for (const double budget : {0.05, 0.15, 1.0}) {
        for (const std::int64_t batch : {1, 24}) {
          for (const int tp : {1, 4}) all.push_back({policy, window, budget, batch, tp});
        }
      }
    }
  }
  return all;
}

class Conservation : public testing::TestWithParam<Shape> {
 protected:
  DecodeConfig config() const {
    const Shape shape = GetParam();
    DecodeConfig config = llama(shape.policy, {.budget = shape.budget}, shape.window);
    config.batch = shape.batch;
    config.tensor_parallel_size = shape.tensor_parallel_size;
    return config;
  }
};
INSTANTIATE_TEST_SUITE_P(Shapes, Conservation, testing::ValuesIn(shapes()));

TEST_P(Conservation, BytesFlopsAndTimeAddUp) {
  const DecodeConfig c = config();
  const bool sees_less = c.window > 1 && c.policy->can_return_to_skipped_pages() && GetParam().budget < 1;
  const SimulationResult result = simulate_decode(c, h100(), {sees_less ? with_unseen(c) : demand_without_unseen(c)});
  const StepSummary& step = result.step;
  // bytes read = KV + summaries + weights + output cache + the rest
  EXPECT_EQ(step.hbm_read_bytes, step.kv_read_bytes + step.summary_read_bytes + step.weight_read_bytes +
                                     step.output_cache_read_bytes + step.other_read_bytes);
  // The step is the sum of its operations, in bytes, FLOPs and time (one stream: launch, latencies, gaps).
  Traffic bytes;
  double flops = 0;
  double latency_us = h100().graph_launch_s * 1e6;
  double end_us = 0;
  for (const OpRecord& op : result.ops) {
    bytes += op.traffic;
    flops += op.flops;
    latency_us += op.latency_us + (&op == &result.ops.front() ? 0 : h100().graph_node_s * 1e6);
    EXPECT_GE(op.start_us, end_us);
    EXPECT_GT(op.latency_us, 0);
    end_us = op.start_us + op.latency_us;
  }
  EXPECT_EQ(static_cast<double>(bytes.hbm_read()), step.hbm_read_bytes);
  EXPECT_EQ(static_cast<double>(bytes.hbm_write()), step.hbm_write_bytes);
  EXPECT_EQ(flops, step.flops);
  // 1 ps of rounding per operation at most
  EXPECT_NEAR(latency_us, step.latency_us_mean, 1e-6 * static_cast<double>(result.ops.size()));
  EXPECT_NEAR(end_us, step.latency_us_mean, 1e-6);
  // No operation moves bytes faster than the datasheet's HBM, nor the whole step.
  EXPECT_GT(step.latency_us_mean * 1e-6, step.weight_read_bytes / h100().spec.hbm_bandwidth_bytes_per_s);
}

TEST_P(Conservation, WindowOneIsNoWindow) {
  DecodeConfig c = config();
  c.window = 1;
  const StepSummary step = simulate_step(c);
  EXPECT_EQ(step.output_cache_read_bytes, 0);
  EXPECT_EQ(step.output_cache_state_bytes, 0);
  EXPECT_EQ(step.unseen_pages_mean, 0);
  // Whatever the demand says of older queries, there are none.
  DecodeConfig two = c;
  two.window = 2;
  const StepSummary asked = simulate_decode(c, h100(), {with_unseen(two)}).step;
  EXPECT_EQ(asked.latency_us_mean, step.latency_us_mean);
  EXPECT_EQ(asked.flops, step.flops);
  EXPECT_EQ(asked.unseen_pages_mean, 0);
}

TEST_P(Conservation, TheWindowDoesNotChangeWhatIsLoaded) {
  DecodeConfig c = config();
  const StepSummary with = simulate_step(c);
  c.window = 1;
  const StepSummary without = simulate_step(c);
  EXPECT_EQ(with.kv_read_bytes, without.kv_read_bytes);          // I6
  EXPECT_EQ(with.weight_read_bytes, without.weight_read_bytes);  // weights once
  EXPECT_GE(with.flops, without.flops);
  EXPECT_GE(with.kv_write_bytes, without.kv_write_bytes);
}

TEST_P(Conservation, AFullBudgetReadsWhatDenseReads) {
  DecodeConfig c = config();
  c.policy = make_policy(GetParam().policy, {.budget = 1});
  const StepSummary step = simulate_step(c);
  c.policy = make_policy("full", {});
  EXPECT_EQ(step.kv_read_bytes, simulate_step(c).kv_read_bytes);
}

TEST_P(Conservation, TensorParallelGpusShareTheKv) {
  DecodeConfig c = config();
  const StepSummary part = simulate_step(c);
  c.tensor_parallel_size = 1;
  const StepSummary whole = simulate_step(c);
  EXPECT_EQ(part.kv_read_bytes * GetParam().tensor_parallel_size, whole.kv_read_bytes);
  EXPECT_EQ(part.kv_write_bytes * GetParam().tensor_parallel_size, whole.kv_write_bytes);
  EXPECT_EQ(part.output_cache_state_bytes * GetParam().tensor_parallel_size, whole.output_cache_state_bytes);
}

// Every policy in every variant, whatever streams its step runs on.
struct Variant {
  std::string policy;
  PolicyVariant variant;
};

std::vector<Variant> every_variant() {
  std::vector<Variant> all;
  for (const std::string& name : policy_names()) {
    for (const PolicyVariant variant : make_policy(name, {})->variants()) all.push_back({name, variant});
  }
  return all;
}

class EveryPolicyConserves : public testing::TestWithParam<Variant> {
 protected:
  DecodeConfig config(int window, std::int64_t batch, int tensor_parallel_size) const {
    DecodeConfig config = llama(GetParam().policy, {.budget = 0.2, .variant = GetParam().variant}, window);
    config.batch = batch;
    config.tensor_parallel_size = tensor_parallel_size;
    return config;
  }
  /// Calls `check` with results over windows, batches and tensor-parallel sizes.
  template <typename Check>
  void for_each_result(const Check& check) const {
    const int largest = GetParam().policy == "magicpig" ? 1 : 4;  // no window is defined on magicpig
    for (const int window : {1, largest}) {
      for (const std::int64_t batch : {1, 8}) {
        for (const int gpus : {1, 2}) {
          const DecodeConfig c = config(window, batch, gpus);
          const bool sees_less = window > 1 && c.policy->can_return_to_skipped_pages();
          SCOPED_TRACE("window " + std::to_string(window) + ", batch " + std::to_string(batch) + ", GPUs " +
                       std::to_string(gpus));
          check(simulate_decode(c, h100(), {sees_less ? with_unseen(c) : demand_without_unseen(c)}));
        }
      }
    }
  }
};
INSTANTIATE_TEST_SUITE_P(All, EveryPolicyConserves, testing::ValuesIn(every_variant()), [](const auto& param_info) {
  return param_info.param.policy + "_" + std::string(name_of(param_info.param.variant));
});

TEST_P(EveryPolicyConserves, TheStepMovesWhatItsOperationsMove) {
  for_each_result([](const SimulationResult& result) {
    Traffic bytes;
    double flops = 0;
    for (const OpRecord& op : result.ops) {
      bytes += op.traffic;
      flops += op.flops;
    }
    const StepSummary& step = result.step;
    EXPECT_EQ(step.hbm_read_bytes, step.kv_read_bytes + step.summary_read_bytes + step.weight_read_bytes +
                                       step.output_cache_read_bytes + step.other_read_bytes);
    EXPECT_EQ(static_cast<double>(bytes.hbm_read()), step.hbm_read_bytes);
    EXPECT_EQ(static_cast<double>(bytes.hbm_write()), step.hbm_write_bytes);
    EXPECT_EQ(static_cast<double>(bytes.host_to_device), step.host_to_device_bytes);
    EXPECT_EQ(static_cast<double>(bytes.device_to_host), step.device_to_host_bytes);
    EXPECT_EQ(static_cast<double>(bytes.host_memory), step.host_memory_bytes);
    EXPECT_DOUBLE_EQ(flops, step.flops);
  });
}

TEST_P(EveryPolicyConserves, NoStreamRunsTwoOperationsAtOnce) {
  for_each_result([](const SimulationResult& result) {
    std::map<Stream, double> free_from;
    double last_end = 0;
    for (const OpRecord& op : result.ops) {
      double& free = free_from[op.stream];
      EXPECT_GE(op.start_us, free - 1e-6) << op.name;
      free = op.start_us + op.latency_us;
      last_end = std::max(last_end, free);
    }
    EXPECT_NEAR(last_end, result.step.latency_us_mean, 1e-6);
  });
}

TEST_P(EveryPolicyConserves, NoResourceWorksAboveItsCapacity) {
  for_each_result([](const SimulationResult& result) {
    const double seconds = result.step.latency_us_mean * 1e-6;
    const GpuProfile& gpu = h100();
    EXPECT_LE(result.step.weight_read_bytes, gpu.spec.hbm_bandwidth_bytes_per_s * seconds);
    EXPECT_LE(result.step.host_to_device_bytes, gpu.pcie_h2d_bytes_per_s * seconds * (1 + 1e-9));
    EXPECT_LE(result.step.device_to_host_bytes, gpu.pcie_d2h_bytes_per_s * seconds * (1 + 1e-9));
    EXPECT_LE(result.step.host_memory_bytes, gpu.host_memory_bytes_per_s * seconds * (1 + 1e-9));
  });
}

}  // namespace
}  // namespace retrosim
