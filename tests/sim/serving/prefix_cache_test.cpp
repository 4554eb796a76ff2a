// Serving with prefix caching, sessions and asynchronous scheduling. P1 blocks are conserved (BlockPool::check after
// every step); P2 every request ends once, a session's turns one after the other; P3 same input, same result; P4 a
// token is computed or found, never both; P5 without anything to share the outcome is the one without prefix caching.
#include "sim/serving/prefix_cache.h"

#include <gtest/gtest.h>

#include "model/error.h"
#include "sim/serving/serving_metrics.h"
#include "sim/serving/serving_simulation.h"
#include "sim/workload/synthetic.h"
#include "tests/sim/serving/small_serving.h"

namespace retrosim {
namespace {

using testing::h100_profile;

ServingConfig caching_config() {
  ServingConfig config = testing::small_serving();
  config.prefix_caching = true;
  return config;
}

Workload chats(std::int64_t count, std::int32_t shared, std::uint64_t seed, double rate = 20) {
  return synthetic_sessions({ArrivalKind::poisson, rate, 1}, parse_length("lognormal:60:1,1,900", ""),
                            parse_length("exponential:50,1,400", ""),
                            {.turns = parse_length("uniform:1:6", ""),
                             .think_ms = parse_length("exponential:300", ""),
                             .shared_prefix_tokens = shared},
                            count, seed);
}

TEST(PromptContent, LaterTurnsBeginWithTheEarlierOnes) {
  Workload workload;
  workload.shared_prefix_tokens = 20;
  workload.requests = {{.input_tokens = 40, .output_tokens = 24, .session = 0},
                       {.input_tokens = 80, .output_tokens = 8, .session = 0, .previous = 0},
                       {.input_tokens = 80, .output_tokens = 8, .session = 1},
                       {.input_tokens = 80, .output_tokens = 8},
                       {.input_tokens = 80, .output_tokens = 8}};
  const PromptContent content(workload);
  const auto head = [&](std::uint32_t request, int blocks) {
    std::uint64_t hash = 0;
    for (int b = 0; b < blocks; ++b) hash = content.chain(hash, request, 16 * b, 16);
    return hash;
  };
  EXPECT_EQ(head(0, 4), head(1, 4));  // 40 of the prompt and 24 of the answer
  EXPECT_EQ(head(0, 1), head(2, 1));  // the shared prefix
  EXPECT_NE(head(0, 2), head(2, 2));  // 4 of its 20 tokens, then their own
  EXPECT_NE(head(3, 1), head(4, 1));
  EXPECT_NE(head(0, 1), head(3, 1));
}

TEST(PromptContent, HashIdsSayWhatIsEqual) {
  Workload workload;
  workload.hash_ids = {5, 6, 5, 7, 5};
  workload.requests = {{.input_tokens = 1024, .output_tokens = 9, .first_hash = 0, .num_hashes = 2},
                       {.input_tokens = 1000, .output_tokens = 9, .first_hash = 2, .num_hashes = 2},
                       {.input_tokens = 600, .output_tokens = 9, .first_hash = 4, .num_hashes = 1}};
  const PromptContent content(workload);
  const auto head = [&](std::uint32_t request, int blocks) {
    std::uint64_t hash = 0;
    for (int b = 0; b < blocks; ++b) hash = content.chain(hash, request, 16 * b, 16);
    return hash;
  };
  EXPECT_EQ(head(0, 32), head(1, 32));
  EXPECT_EQ(head(0, 32), head(2, 32));
  EXPECT_NE(head(0, 33), head(1, 33));
  EXPECT_NE(head(0, 33), head(2, 33));  // not recorded: its own
}

/// Turn 1: 40 tokens in, 24 out: 63 are in the cache at the end (the last one is never fed back), 3 whole blocks. Turn
/// 2 has 80 tokens and finds 48 of them. A third request with the same 80 tokens but the last block finds 4 blocks =
/// 64, and a prompt that is there whole computes its last block again.
TEST(PrefixCache, FindsWholeBlocksAndLeavesOneToken) {
  Workload workload;
  workload.sessions = 1;
  workload.requests = {{.input_tokens = 40, .output_tokens = 24, .session = 0},
                       {.arrival = 1'000'000'000, .input_tokens = 80, .output_tokens = 1, .session = 0, .previous = 0},
                       {.arrival = 1'000'000'000, .input_tokens = 81, .output_tokens = 1, .session = 0, .previous = 1},
                       {.arrival = 1'000'000'000, .input_tokens = 82, .output_tokens = 1, .session = 0, .previous = 2}};
  const ServingRun run = simulate_serving(caching_config(), h100_profile(), workload, {.check_prefix_caches = true});
  EXPECT_EQ(run.requests[0].cached_tokens, 0);
  EXPECT_EQ(run.requests[1].cached_tokens, 48);
  EXPECT_EQ(run.requests[2].cached_tokens, 80);
  EXPECT_EQ(run.requests[3].cached_tokens, 80);
  EXPECT_EQ(run.totals.prompt_tokens, 40 + 32 + 1 + 2);
  EXPECT_EQ(run.totals.cached_tokens, 208);
  for (std::size_t turn = 1; turn < 4; ++turn) {
    EXPECT_EQ(run.requests[turn].arrival, run.requests[turn - 1].finish + 1'000'000'000);
  }
  // 80 tokens that are all there: the last block is computed again.
  Workload twice;
  twice.hash_ids = {1, 1};
  twice.requests = {
      {.input_tokens = 80, .output_tokens = 1, .first_hash = 0, .num_hashes = 1},
      {.arrival = ps_from_seconds(1), .input_tokens = 80, .output_tokens = 1, .first_hash = 1, .num_hashes = 1}};
  EXPECT_EQ(simulate_serving(caching_config(), h100_profile(), twice).requests[1].cached_tokens, 64);
}

/// Prompts of one step share as well: the blocks of the first are filled when it is scheduled.
TEST(PrefixCache, SharesBlocksWithinAStep) {
  Workload workload;
  workload.hash_ids = {1, 1};
  workload.requests = {{.input_tokens = 100, .output_tokens = 30, .first_hash = 0, .num_hashes = 1},
                       {.input_tokens = 100, .output_tokens = 30, .first_hash = 1, .num_hashes = 1}};
  ServingConfig config = caching_config();
  // 6 shared blocks; each has one for tokens 96..111 and one for 112..127 and a last one: 6 + 3 + 3 = 12.
  config.num_blocks_override = 12;
  const ServingRun run = simulate_serving(config, h100_profile(), workload, {.check_prefix_caches = true});
  EXPECT_EQ(run.requests[1].cached_tokens, 96);
  EXPECT_EQ(run.totals.preemptions, 0);
  EXPECT_EQ(run.requests[0].first_token, run.requests[1].first_token);
}

/// Twice 6 blocks of 8 do not fit: the second session's blocks push the first's out, the tail first.
TEST(PrefixCache, EvictsTheLeastRecentlyUsedTailFirst) {
  Workload workload;
  workload.hash_ids = {1, 2, 1};
  workload.requests = {
      {.input_tokens = 96, .output_tokens = 1, .first_hash = 0, .num_hashes = 1},
      {.arrival = ps_from_seconds(1), .input_tokens = 96, .output_tokens = 1, .first_hash = 1, .num_hashes = 1},
      {.arrival = ps_from_seconds(2), .input_tokens = 96, .output_tokens = 1, .first_hash = 2, .num_hashes = 1}};
  ServingConfig config = caching_config();
  config.num_blocks_override = 8;
  const ServingRun run = simulate_serving(config, h100_profile(), workload, {.check_prefix_caches = true});
  // The second took the 2 unused blocks and the last 4 of the first; 2 blocks of the first were left.
  EXPECT_EQ(run.requests[2].cached_tokens, 32);
  EXPECT_EQ(run.evicted_blocks, 8);
}

/// A preempted sequence finds what is left of its own blocks.
TEST(PrefixCache, PreemptedSequencesFindTheirOwnBlocks) {
  ServingConfig config = caching_config();
  config.num_blocks_override = 8;
  Workload workload;
  workload.requests = {{0, 48, 40}, {0, 48, 40}};
  const ServingRun run = simulate_serving(config, h100_profile(), workload, {.check_prefix_caches = true});
  EXPECT_EQ(run.requests[1].preemptions, 1);
  // It held 4 blocks (64 tokens). The first needed one, the last of them (the tail goes first), for its tokens 65 to
  // 80, and another one for 81 to 87: 2 blocks are left when there is room for its 65 tokens again.
  EXPECT_EQ(run.totals.cached_tokens, 32);
  EXPECT_EQ(run.totals.prompt_tokens, 48 + 48 + 65 - 32);
  EXPECT_EQ(run.requests[1].cached_tokens, 0);  // when it was first scheduled
}

class PrefixCachingLoad : public ::testing::TestWithParam<std::tuple<Routing, std::int64_t, bool>> {};

TEST_P(PrefixCachingLoad, InvariantsHold) {
  const auto& [routing, blocks, async] = GetParam();
  ServingConfig config = caching_config();
  config.num_replicas = 3;
  config.routing = routing;
  config.num_blocks_override = blocks;
  config.async_scheduling = async;
  config.max_num_batched_tokens = 512;
  config.decode.policy = make_policy("quest", {});
  config.decode.dense_layers = 2;
  config.decode.window = 2;
  config.unseen = {0.3, 0.2};
  for (const std::uint64_t seed : {1, 2}) {
    const Workload workload = chats(300, 70, seed, 200);
    const ServingRun run = simulate_serving(config, h100_profile(), workload, {.check_prefix_caches = true});  // P1
    std::int64_t prompt_tokens = 0;
    std::int64_t generated = 0;
    for (std::size_t i = 0; i < run.requests.size(); ++i) {
      const RequestRecord& r = run.requests[i];
      ASSERT_NE(r.outcome, RequestOutcome::pending);  // P2
      if (r.outcome != RequestOutcome::finished) continue;
      EXPECT_LT(r.cached_tokens, r.input_tokens);
      EXPECT_EQ(r.cached_tokens % 16, 0);
      generated += r.output_tokens;
      if (r.preemptions == 0) prompt_tokens += r.input_tokens - r.cached_tokens;
      const std::int32_t previous = workload.requests[i].previous;
      if (previous >= 0) {
        EXPECT_GT(r.arrival, run.requests[static_cast<std::size_t>(previous)].finish);
        if (routing == Routing::session_affinity) {
          EXPECT_EQ(r.replica, run.requests[static_cast<std::size_t>(previous)].replica);
        }
      }
    }
    EXPECT_EQ(run.totals.generated_tokens, generated);
    if (run.totals.preemptions == 0) {
      EXPECT_EQ(run.totals.prompt_tokens, prompt_tokens);  // P4
    } else {
      EXPECT_GT(run.totals.prompt_tokens, prompt_tokens);
    }
    const ServingRun again = simulate_serving(config, h100_profile(), workload);
    for (std::size_t i = 0; i < run.requests.size(); ++i) {  // P3
      EXPECT_EQ(run.requests[i].finish, again.requests[i].finish);
      EXPECT_EQ(run.requests[i].cached_tokens, again.requests[i].cached_tokens);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(RoutingBlocksAsync, PrefixCachingLoad,
                         ::testing::Combine(::testing::Values(Routing::round_robin, Routing::least_loaded,
                                                              Routing::session_affinity, Routing::prefix_aware),
                                            ::testing::Values(260, 1000, 100000), ::testing::Bool()));

TEST(PrefixCache, WithoutAnythingToShareNothingChanges) {  // P5
  const Workload workload = synthetic_workload({ArrivalKind::gamma, 100, 2}, parse_length("lognormal:300:1,1,3000", ""),
                                               parse_length("exponential:80,1,600", ""), 300, 4);
  for (const bool async : {false, true}) {
    ServingConfig config = caching_config();
    config.async_scheduling = async;
    config.num_blocks_override = 20000;  // so that nobody is preempted
    const ServingRun with = simulate_serving(config, h100_profile(), workload);
    config.prefix_caching = false;
    const ServingRun without = simulate_serving(config, h100_profile(), workload);
    EXPECT_EQ(with.totals.preemptions, 0);
    EXPECT_EQ(with.totals.cached_tokens, 0);
    for (std::size_t i = 0; i < workload.requests.size(); ++i) {
      ASSERT_EQ(with.requests[i].finish, without.requests[i].finish);
    }
  }
}

TEST(PrefixCache, SessionsAreFasterWithIt) {
  const Workload workload = chats(400, 500, 3, 30);
  ServingConfig config = caching_config();
  config.num_replicas = 2;
  config.routing = Routing::session_affinity;
  const ServingMetrics with = serving_metrics(simulate_serving(config, h100_profile(), workload), {}, 2);
  config.prefix_caching = false;
  const ServingMetrics without = serving_metrics(simulate_serving(config, h100_profile(), workload), {}, 2);
  EXPECT_GT(with.prefix_cache_hit_rate, 0.5);
  EXPECT_EQ(without.prefix_cache_hit_rate, 0);
  EXPECT_LT(with.ttft.mean_s, without.ttft.mean_s);
}

TEST(PrefixCache, PoliciesThatEvictAreRefused) {
  ServingConfig config = caching_config();
  config.decode.policy = make_policy("streaming", {});
  EXPECT_THROW(simulate_serving(config, h100_profile(), chats(10, 0, 1)), InputError);
  config = caching_config();
  config.routing = Routing::session_affinity;
  Workload workload;
  workload.requests = {{0, 10, 1}};
  EXPECT_THROW(simulate_serving(config, h100_profile(), workload), InputError);
}

/// Sessions whose later turns outgrow max_model_len end there, with the reason.
TEST(Sessions, EndWithTheTurnThatIsTooLong) {
  ServingConfig config = caching_config();
  config.max_model_len = 100;
  Workload workload;
  workload.sessions = 2;
  workload.requests = {{.input_tokens = 50, .output_tokens = 10, .session = 0},
                       {.arrival = 5, .input_tokens = 95, .output_tokens = 10, .session = 0, .previous = 0},
                       {.arrival = 5, .input_tokens = 120, .output_tokens = 10, .session = 0, .previous = 1},
                       {.arrival = 9, .input_tokens = 20, .output_tokens = 10, .session = 1}};
  for (const std::int64_t clients : {0, 1}) {
    const ServingRun run = simulate_serving(config, h100_profile(), workload, {.closed_loop_clients = clients});
    EXPECT_EQ(run.requests[0].outcome, RequestOutcome::finished);
    EXPECT_EQ(run.requests[1].outcome, RequestOutcome::too_long);
    EXPECT_EQ(run.requests[2].outcome, RequestOutcome::too_long);
    EXPECT_EQ(run.requests[3].outcome, RequestOutcome::finished);
  }
}

TEST(Sessions, ArriveAtTheRateOfTheirRequests) {
  const Workload workload = chats(20'000, 10, 8, 50);
  EXPECT_EQ(workload.requests.size(), 20'000U);
  TimePs last = 0;
  for (std::size_t i = 0; i < workload.requests.size(); ++i) {
    const Request& r = workload.requests[i];
    if (r.previous < 0) {
      EXPECT_GE(r.arrival, last);
      last = r.arrival;
      EXPECT_GT(r.input_tokens, 10);
    } else {
      EXPECT_EQ(r.previous, static_cast<std::int32_t>(i) - 1);
      const Request& before = workload.requests[i - 1];
      EXPECT_EQ(r.session, before.session);
      EXPECT_GT(r.input_tokens, before.input_tokens + before.output_tokens);
    }
  }
  // 20,000 requests at 50 per second; sessions have 3.5 turns on average, so 5,714 gaps: a deviation of 1.3 %.
  EXPECT_NEAR(seconds_from_ps(last), 400, 20);
}

/// With asynchronous scheduling a request that arrives during a step is in no step before the next but one.
TEST(AsyncScheduling, AStepIsScheduledWhenTheOneBeforeBegins) {
  ServingConfig config = caching_config();
  config.prefix_caching = false;
  config.async_scheduling = true;
  Workload workload;
  workload.requests = {{0, 100, 50}, {1, 200, 2}};  // the second 1 ps later
  const ServingRun run = simulate_serving(config, h100_profile(), workload, {.timeline = true});
  StepCosts costs(config, std::make_shared<const Pricer>(h100_profile()));
  StepShape prefill;
  prefill.add_chunk(100, 0);
  const TimePs first = costs.step(prefill);
  const TimePs second = costs.step({.decodes = 1, .context_sum = 101});  // scheduled when the first began
  StepShape mixed{.decodes = 1, .context_sum = 102};
  mixed.add_chunk(200, 0);
  EXPECT_EQ(run.requests[1].scheduled, first);  // the end of the step that ran when it came
  EXPECT_EQ(run.requests[1].first_token, first + second + costs.step(mixed));
  ASSERT_GE(run.steps.size(), 3U);
  EXPECT_EQ(run.steps[1].shape, (StepShape{.decodes = 1, .context_sum = 101}));
  EXPECT_EQ(run.steps[2].shape, mixed);
}

TEST(AsyncScheduling, ARunOfStepsEqualsItsSteps) {
  const Workload workload = synthetic_workload({ArrivalKind::gamma, 60, 2}, parse_length("lognormal:300:1,1,3000", ""),
                                               parse_length("exponential:80,1,600", ""), 60, 11);
  for (const std::int64_t blocks : {250, 100000}) {
    ServingConfig config = caching_config();
    config.prefix_caching = blocks == 250;
    config.async_scheduling = true;
    config.num_blocks_override = blocks;
    const ServingRun fast = simulate_serving(config, h100_profile(), workload, {.check_prefix_caches = true});
    config.exact_steps = true;
    const ServingRun exact = simulate_serving(config, h100_profile(), workload, {.check_prefix_caches = true});
    EXPECT_EQ(fast.totals.steps > 0, true);
    EXPECT_EQ(fast.totals.generated_tokens, exact.totals.generated_tokens);
    const double e2e = serving_metrics(exact, {}, 1).e2e.mean_s;
    EXPECT_NEAR(serving_metrics(fast, {}, 1).e2e.mean_s / e2e, 1, 0.01);
  }
}

}  // namespace
}  // namespace retrosim
