// Invariants of serving simulations. S1 every request ends once; S2 KV blocks are conserved (the simulation throws
// otherwise) and never exceeded; S3 times are monotone; S4 same input, same result; S5 a run of steps equals its steps.
#include <gtest/gtest.h>

#include "model/error.h"
#include "sim/serving/replica.h"
#include "sim/serving/serving_metrics.h"
#include "sim/workload/synthetic.h"
#include "tests/sim/serving/small_serving.h"

namespace retrosim {
namespace {

using testing::h100_profile;
using testing::small_serving;

Workload workload_of(double rate, std::int64_t count, std::uint64_t seed) {
  return synthetic_workload({ArrivalKind::gamma, rate, 2}, parse_length("lognormal:300:1,1,3000", ""),
                            parse_length("exponential:80,1,600", ""), count, seed);
}

void expect_sound(const ServingRun& run, const Workload& workload, int replicas = 1) {
  ASSERT_EQ(run.requests.size(), workload.requests.size());
  std::int64_t generated = 0;
  for (const RequestRecord& r : run.requests) {
    ASSERT_NE(r.outcome, RequestOutcome::pending);  // S1
    if (r.outcome != RequestOutcome::finished) continue;
    generated += r.output_tokens;
    EXPECT_LE(r.arrival, r.scheduled);  // S3
    EXPECT_LT(r.scheduled, r.first_token);
    EXPECT_EQ(r.output_tokens == 1, r.first_token == r.finish);
    EXPECT_LE(r.first_token, r.finish);
  }
  EXPECT_EQ(run.totals.generated_tokens, generated);  // S1: no token twice
  std::int64_t by_second = 0;
  for (const SecondRecord& second : run.seconds) {
    by_second += second.generated_tokens;
    EXPECT_LE(second.kv_blocks_used, replicas * run.memory.num_blocks);  // S2
  }
  EXPECT_EQ(by_second, generated);
}

TEST(Serving, OneRequestTakesItsPrefillAndItsDecodeSteps) {
  const ServingConfig config = small_serving();
  Workload workload;
  workload.requests = {{5'000'000, 100, 4}};
  const ServingRun run = simulate_serving(config, h100_profile(), workload);
  StepCosts costs(config, std::make_shared<const Pricer>(h100_profile()));
  // Prefill of 100 tokens makes the first; then contexts 101, 102, 103 (the current token included) make three more.
  StepShape prefill;
  prefill.add_chunk(100, 0);
  const TimePs first = costs.step(prefill);
  const TimePs rest = costs.step({.decodes = 1, .context_sum = 101}) + costs.step({.decodes = 1, .context_sum = 102}) +
                      costs.step({.decodes = 1, .context_sum = 103});
  EXPECT_EQ(run.requests[0].scheduled, 5'000'000);
  EXPECT_EQ(run.requests[0].first_token, 5'000'000 + first);
  EXPECT_EQ(run.requests[0].finish, 5'000'000 + first + rest);
  EXPECT_EQ(run.totals.steps, 4);
}

TEST(Serving, ChunksOfALongPromptMixWithDecoding) {
  ServingConfig config = small_serving();
  config.max_num_batched_tokens = 64;
  Workload workload;
  workload.requests = {{0, 10, 50}, {0, 200, 2}};
  const ServingRun run = simulate_serving(config, h100_profile(), workload);
  expect_sound(run, workload);
  // Step 1: 10 + 54 rows of the second prompt; then one decode row and 63 prompt rows: 54 + 63 + 63 = 180, + 20 = 200.
  EXPECT_EQ(run.totals.prefill_steps, 4);
  EXPECT_EQ(run.totals.prompt_tokens, 210);
}

TEST(Serving, PreemptsTheLastAdmittedAndRecomputes) {
  ServingConfig config = small_serving();
  config.num_blocks_override = 8;  // of 16 tokens
  Workload workload;
  workload.requests = {{0, 48, 40}, {0, 48, 40}};  // 3 blocks each at first, 6 each at the end: 12 > 8
  const ServingRun run = simulate_serving(config, h100_profile(), workload);
  expect_sound(run, workload);
  EXPECT_EQ(run.requests[0].preemptions, 0);
  EXPECT_EQ(run.requests[1].preemptions, 1);
  EXPECT_LT(run.requests[0].finish, run.requests[1].finish);
  // Both hold 4 blocks for contexts 49..64 and the second needs a fifth for its token 65 together with the first: it
  // had computed 64 tokens, i.e. 17 generated, and recomputes 48 + 17 of them.
  EXPECT_EQ(run.totals.prompt_tokens, 48 + 48 + 65);
}

TEST(Serving, RejectsWithAReason) {
  ServingConfig config = small_serving();
  config.num_blocks_override = 8;
  config.max_model_len = 1000;
  Workload workload;
  workload.requests = {{0, 1000, 1}, {0, 128, 1}, {0, 20, 20}};
  const ServingRun run = simulate_serving(config, h100_profile(), workload);
  EXPECT_EQ(run.requests[0].outcome, RequestOutcome::too_long);  // 1001 tokens
  EXPECT_EQ(run.requests[1].outcome, RequestOutcome::too_big);   // 129 tokens: 9 blocks
  EXPECT_EQ(run.requests[2].outcome, RequestOutcome::finished);
}

TEST(Serving, ModelThatDoesNotFitIsInfeasible) {
  ServingConfig config = small_serving();
  config.decode.llm = find_llm_spec("llama-3.1-70b");
  Workload workload;
  workload.requests = {{0, 1, 1}};
  EXPECT_THROW(simulate_serving(config, h100_profile(), workload), InfeasibleError);
}

class ServingLoad : public ::testing::TestWithParam<double> {};

TEST_P(ServingLoad, InvariantsHoldForEveryRoutingAndMemory) {
  const Workload workload = workload_of(GetParam(), 400, 11);
  for (const Routing routing : {Routing::round_robin, Routing::least_loaded}) {
    for (const std::int64_t blocks : {250, 1000, 100000}) {
      for (const bool reserve : {true, false}) {
        ServingConfig config = small_serving();
        config.num_replicas = 3;
        config.routing = routing;
        config.num_blocks_override = blocks;
        config.reserve_full_prompt = reserve;
        config.max_num_batched_tokens = 512;
        const ServingRun run = simulate_serving(config, h100_profile(), workload);
        expect_sound(run, workload, 3);
        const ServingRun again = simulate_serving(config, h100_profile(), workload);
        for (std::size_t i = 0; i < run.requests.size(); ++i) {  // S4
          EXPECT_EQ(run.requests[i].finish, again.requests[i].finish);
        }
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(RequestsPerSecond, ServingLoad, ::testing::Values(5.0, 50.0, 5000.0));

// S5, and the interpolation against the exact step graph: the exact mode takes every step by itself.
TEST(Serving, InterpolatedRunsFollowExactSteps) {
  const Workload workload = workload_of(100, 60, 5);
  for (const char* policy : {"full", "quest", "streaming"}) {
    ServingConfig config = small_serving();
    config.decode.policy = make_policy(policy, {});
    config.decode.dense_layers = policy == std::string("full") ? 0 : 2;
    if (policy == std::string("quest")) {
      config.decode.window = 3;
      config.unseen = {0.3, 0.2};
    }
    const ServingRun fast = simulate_serving(config, h100_profile(), workload);
    config.exact_steps = true;
    const ServingRun exact = simulate_serving(config, h100_profile(), workload);
    expect_sound(exact, workload);
    EXPECT_LT(fast.audit.max_abs_error, 0.01) << policy;
    EXPECT_EQ(exact.audit.max_abs_error, 0.0);
    const double e2e = serving_metrics(exact, {}, 1).e2e.mean_s;
    EXPECT_NEAR(serving_metrics(fast, {}, 1).e2e.mean_s / e2e, 1, 0.003) << policy;
  }
}

TEST(StepCosts, RunOfStepsEqualsItsSteps) {
  StepCosts costs(small_serving(), std::make_shared<const Pricer>(h100_profile()));
  for (const std::int64_t batch : {1, 7, 32}) {
    for (const std::int64_t context : {1, 30, 63, 500, 4000}) {
      TimePs sum = 0;
      for (std::int64_t i = 0; i < 300; ++i) {
        sum += costs.step({.decodes = batch, .context_sum = batch * context + 3 + i * batch});
        ASSERT_EQ(costs.decode_run(batch, batch * context + 3, i + 1), sum);
      }
      const std::int64_t steps = costs.decode_steps_until(batch, batch * context + 3, 300, sum / 3);
      EXPECT_GE(costs.decode_run(batch, batch * context + 3, steps), sum / 3);
      EXPECT_TRUE(steps == 1 || costs.decode_run(batch, batch * context + 3, steps - 1) < sum / 3);
    }
  }
}

TEST(Serving, ClosedLoopKeepsItsClientsBusy) {
  Workload workload = workload_of(1, 100, 2);
  ServingConfig config = small_serving();
  const ServingRun run = simulate_serving(config, h100_profile(), workload, {.closed_loop_clients = 8});
  expect_sound(run, workload);
  EXPECT_EQ(run.totals.max_running, 8);
}

// Llama-3.1-8B on an 80 GiB GPU: 0.9 of 79.5 GiB - 16.06e9 of weights - 0.25 GiB, over 16 * 131072 bytes per block.
TEST(KvBlocks, OfLlama8B) {
  ServingConfig config = small_serving();
  config.decode.llm = find_llm_spec("llama-3.1-8b");
  config.activation_bytes = 0;
  const KvBlocks blocks(config, h100_profile().spec);
  EXPECT_EQ(blocks.memory().block, 16 * 131072);
  const auto usable = static_cast<std::int64_t>(79.5 * 1073741824.0 * 0.9);
  EXPECT_EQ(blocks.total(), (usable - 2 * config.decode.llm.num_params() - 268'435'456) / (16 * 131072));
  EXPECT_EQ(blocks.needed(0), 0);
  EXPECT_EQ(blocks.needed(16), 1);
  EXPECT_EQ(blocks.needed(17), 2);
  // Quest with a window: a block also holds min and max (2 * 8 heads * 128 * 2 bytes) and last_loaded (4 bytes per
  // head) of 30 sparse layers, and each sequence holds the output cache.
  config.decode.policy = make_policy("quest", {});
  config.decode.dense_layers = 2;
  config.decode.window = 2;
  const KvBlocks quest(config, h100_profile().spec);
  EXPECT_EQ(quest.memory().block, 16 * 131072 + 30 * (2 * 8 * 128 * 2 + 4 * 8));
  EXPECT_GT(quest.needed(16), 1);
  // Streaming keeps the budget's pages only: fewer blocks for a long context than pages.
  config.decode.policy = make_policy("streaming", {});
  config.decode.window = 1;
  const KvBlocks streaming(config, h100_profile().spec);
  EXPECT_LT(streaming.needed(16000), 500);
}

// The sampler decides at 2048 rows: 256 * 128256 logits * 30 bytes + 2048 rows * 2 * 4096 * 2 bytes; the MLP at 16384:
// rows * (3 * 14336 + 2 * 4096) * 2 bytes.
TEST(KvBlocks, ActivationsPeakInTheSamplerOrTheMlp) {
  ServingConfig config = small_serving();
  config.decode.llm = find_llm_spec("llama-3.1-8b");
  config.max_num_seqs = 256;
  EXPECT_EQ(default_activation_bytes(config), 256LL * 128256 * 30 + 2048 * 16384);
  config.max_num_batched_tokens = 16384;
  EXPECT_EQ(default_activation_bytes(config), 16384LL * (3 * 14336 + 8192) * 2);
}

TEST(DurationHistogram, QuantilesWithinItsResolution) {
  DurationHistogram histogram;
  for (int i = 1; i <= 1000; ++i) histogram.add(i * 1'000'000'000LL, 1);  // 1 ms .. 1 s
  EXPECT_NEAR(histogram.quantile_s(0.5), 0.5, 0.5 * 0.008);
  EXPECT_NEAR(histogram.quantile_s(0.99), 0.99, 0.99 * 0.008);
  EXPECT_NEAR(histogram.mean_s(), 0.5005, 1e-9);
  EXPECT_EQ(DurationHistogram().quantile_s(0.5), 0.0);
}

}  // namespace
}  // namespace retrosim
