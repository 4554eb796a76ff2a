#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "model/error.h"
#include "sim/workload/synthetic.h"
#include "sim/workload/trace_file.h"

namespace retrosim {
namespace {

std::string refusal_of(std::string_view text) {
  try {
    parse_workload(text, "t.csv");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(TraceFile, ThreeColumns) {
  const Workload w = parse_workload("arrived_at,num_prefill_tokens,num_decode_tokens\n1.5,10,2\r\n1.75,7,1\n", "t");
  ASSERT_EQ(w.requests.size(), 2u);
  EXPECT_EQ(w.requests[0], (Request{0, 10, 2}));
  EXPECT_EQ(w.requests[1], (Request{250'000'000'000, 7, 1}));  // 0.25 s in ps
}

TEST(TraceFile, AzureTimestampsWithAndWithoutZone) {
  const Workload w = parse_workload(
      "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 23:59:59.9799600,374,44\n"
      "2023-11-17 00:00:00.0799600+00:00,396,109\n",
      "t");
  EXPECT_EQ(w.requests[1].arrival, 100'000'000'000);  // 0.1 s over midnight
  EXPECT_EQ(w.requests[1].output_tokens, 109);
}

TEST(TraceFile, BurstGptInBothColumnSetsSkipsFailures) {
  const Workload one = parse_workload(
      "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
      "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,0,1087,Conversation log\n118,GPT-4,417,276,693,API log\n",
      "t");
  EXPECT_EQ(one.requests.size(), 2u);
  EXPECT_EQ(one.skipped_unanswered, 1);
  EXPECT_EQ(one.requests[1], (Request{113'000'000'000'000, 417, 276}));
  const Workload two = parse_workload(
      "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
      "0.5,3,1.2,ChatGPT,4,5,9,API log\n",
      "t");
  EXPECT_EQ(two.requests[0], (Request{0, 4, 5}));
}

TEST(TraceFile, JsonLines) {
  const Workload mooncake =
      parse_workload(R"({"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]})"
                     "\n"
                     R"({"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [46, 2354]})",
                     "t");
  EXPECT_EQ(mooncake.requests[1].arrival, 3'053'000'000'000);  // 3,053 ms later
  EXPECT_EQ(mooncake.requests[1].input_tokens, 6472);
  EXPECT_EQ(mooncake.requests[1].output_tokens, 26);
  EXPECT_EQ(mooncake.requests[1].first_hash, 2U);
  EXPECT_EQ(mooncake.requests[1].num_hashes, 2U);
  EXPECT_EQ(mooncake.hash_ids, (std::vector<std::uint64_t>{46, 47, 46, 2354}));
  const Workload sharegpt = parse_workload(R"({"input_toks": 3, "output_toks": 4, "arrival_time_ns": 20})"
                                           "\n"
                                           R"({"input_toks": 1, "output_toks": 2, "arrival_time_ns": 10})",
                                           "t");
  EXPECT_EQ(sharegpt.requests[0], (Request{0, 1, 2}));  // in the order of arrivals
  EXPECT_EQ(sharegpt.requests[1], (Request{10'000, 3, 4}));
  EXPECT_EQ(parse_workload(R"({"input_tokens": 3, "output_tokens": 4})", "t").requests[0], (Request{0, 3, 4}));
}

TEST(TraceFile, RefusalsNameFileAndLine) {
  const std::string header = "arrived_at,num_prefill_tokens,num_decode_tokens\n";
  EXPECT_NE(refusal_of(header + "0,1,1\n0,0,1\n").find("t.csv:3: num_prefill_tokens"), std::string::npos);
  EXPECT_NE(refusal_of(header + "0,1.5,1\n").find("t.csv:2"), std::string::npos);
  EXPECT_NE(refusal_of(header + "nan,1,1\n").find("t.csv:2: arrived_at"), std::string::npos);
  EXPECT_NE(refusal_of(header + "0,1\n").find("t.csv:2: columns"), std::string::npos);
  EXPECT_NE(refusal_of("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-13-01 00:00:00,1,1\n").find("t.csv:2: TIMESTAMP"),
            std::string::npos);
  EXPECT_NE(refusal_of("a,b\n1,2\n").find("t.csv:1: header"), std::string::npos);
  EXPECT_NE(refusal_of(header).find("no requests"), std::string::npos);
  EXPECT_NE(refusal_of("").find("an empty file"), std::string::npos);
  const std::string mooncake = R"({"timestamp": 0, "input_length": 512, "output_length": 1, "hash_ids": )";
  for (const char* ids : {"[1, 2]", "[-1]", "[0.5]", "7", "[2305843009213693952]"}) {
    EXPECT_NE(refusal_of(mooncake + ids + "}").find("t.csv:1: hash_ids"), std::string::npos) << ids;
  }
  EXPECT_NE(refusal_of(R"({"input_tokens": 3, "output_tokens": 0})").find("t.csv:1"), std::string::npos);
  EXPECT_NE(
      refusal_of("{\"input_tokens\":3,\"output_tokens\":1,\"arrival_s\":1}\n{\"input_tokens\":3,\"output_tokens\":1}")
          .find("t.csv:2"),
      std::string::npos);
}

// ../shared/workloads/README.md: 19,366 requests, 1155 / 211 mean tokens, 5.5 requests/s.
TEST(TraceFile, AzureConversationTrace) {
  const std::filesystem::path file =
      std::filesystem::path(RETROSIM_SHARED_DIR) / "workloads/workload_splitwise_conv.csv";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is not there";
  const Workload w = load_workload(file);
  EXPECT_EQ(w.requests.size(), 19366u);
  double input = 0;
  double output = 0;
  for (const Request& request : w.requests) {
    input += request.input_tokens / 19366.0;
    output += request.output_tokens / 19366.0;
  }
  EXPECT_NEAR(input, 1154.7, 0.05);
  EXPECT_NEAR(output, 211.1, 0.05);
  EXPECT_NEAR(19366 / seconds_from_ps(w.requests.back().arrival), 5.5, 0.05);
}

TEST(Lengths, ParseAndDescribe) {
  EXPECT_EQ(parse_length("512", "f").text(), "constant:512,1,16777216");
  EXPECT_EQ(parse_length("lognormal:760:0.985,2,14050", "f").text(), "lognormal:760:0.985,2,14050");
  EXPECT_EQ(parse_length("uniform:10:20", "f").kind, LengthKind::uniform);
  EXPECT_EQ(parse_length("normal:340:218", "f").text(), "normal:340:218,1,16777216");
  EXPECT_EQ(parse_length("quantiles:0=1:0.5=10:1=1000,2,900", "f").text(), "quantiles:0=1:0.5=10:1=1000,2,900");
  for (const char* wrong : {"", "0", "-3", "uniform:20:10", "lognormal:5", "gauss:1:2", "normal:5", "quantiles:0=1",
                            "quantiles:0=1:0.5=3", "quantiles:0=2:1=1", "quantiles:0=1:0=2:1=3", "quantiles:0=0:1=3",
                            "quantiles:0:1=3", "5,2", "5,3,2", "5,0,2", "1e99"}) {
    EXPECT_THROW(parse_length(wrong, "f"), InputError) << wrong;
  }
  for (std::uint64_t i = 0; i < 1000; ++i) {
    RandomStream random(1, RandomPurpose::input_length, i);
    const int length = parse_length("lognormal:100:2,50,200", "f").draw(random);
    EXPECT_TRUE(length >= 50 && length <= 200);
  }
}

TEST(Arrivals, ScaleWithTheRateRequestByRequest) {
  const std::vector<TimePs> slow = draw_arrivals({ArrivalKind::gamma, 2, 3}, 1000, 9);
  const std::vector<TimePs> fast = draw_arrivals({ArrivalKind::gamma, 4, 3}, 1000, 9);
  for (std::size_t i = 0; i < slow.size(); ++i) EXPECT_LE(std::abs(slow[i] - 2 * fast[i]), 2);
  // 20,000 gaps of mean 1/2 s: the sum has a relative deviation of cv / sqrt(20,000) = 2 %.
  EXPECT_NEAR(seconds_from_ps(draw_arrivals({ArrivalKind::gamma, 2, 3}, 20000, 1).back()), 10000, 1000);
  EXPECT_THROW(draw_arrivals({ArrivalKind::poisson, 0, 1}, 10, 0), InputError);
  EXPECT_THROW(draw_arrivals({ArrivalKind::poisson, 1, 1}, 0, 0), InputError);
}

}  // namespace
}  // namespace retrosim
