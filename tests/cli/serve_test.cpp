// `retrosim serve`.
#include <gmock/gmock.h>

#include "tests/cli/program.h"

namespace retrosim::test {
namespace {

constexpr const char* kServe =
    "serve --llm smollm2-135m --gpu h100-sxm --input-len 300 --output-len 30 --num-requests 50 --request-rate 20 ";

TEST(Serve, AnswersTheSameTwice) {
  const Outcome first = run(std::string(kServe) + "--json");
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(run(std::string(kServe) + "--json").out, first.out);
  const auto answer = first.json();
  EXPECT_EQ(answer.at("schema"), "retrosim.serve/1");
  EXPECT_EQ(answer.at("requests").at("finished"), 50);
  EXPECT_EQ(answer.at("steps").at("generated_tokens"), 50 * 30);
  EXPECT_LT(answer.at("step_latency_model").at("max_abs_error"), 0.01);
  EXPECT_NE(run(std::string(kServe) + "--json --seed 1").out, first.out);
}

TEST(Serve, TablesHaveALinePerRequestAndSecond) {
  const TemporaryFolder folder;
  const std::string requests = (folder / "r.csv").string();
  const std::string seconds = (folder / "s.csv").string();
  ASSERT_EQ(run(std::string(kServe) + "--requests-csv " + requests + " --seconds-csv " + seconds).exit_code, 0);
  const std::string text = read_file(requests);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 51);
  EXPECT_THAT(read_file(seconds), ::testing::StartsWith("t_s,arrivals,"));
}

TEST(Serve, PoliciesHaveTheirVariantsAndOptions) {
  const Outcome arkvale = run(std::string(kServe) + "--policy arkvale --policy-variant released --json");
  ASSERT_EQ(arkvale.exit_code, 0) << arkvale.err;
  EXPECT_EQ(arkvale.json().at("inputs").at("policy_variant"), "released");
  const Outcome reuse = run(std::string(kServe) + "--policy reuse --policy-option interval=8 --json");
  ASSERT_EQ(reuse.exit_code, 0) << reuse.err;
  EXPECT_EQ(reuse.json().at("inputs").at("policy_options").at("interval"), 8);
  expect_refused(std::string(kServe) + "--policy quest --policy-option no_such=1", "no_such");
  expect_refused(std::string(kServe) + "--policy full --budget 0.1", "--budget");
}

TEST(Serve, SaysWhatDoesNotFit) {
  const Outcome outcome = run("serve --llm llama-3.1-70b --gpu rtx-4090 --num-requests 5");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("does not fit"));
  expect_refused("serve --llm smollm2-135m --gpu h100-sxm --workload no-such-preset", "azure-conv");
  expect_refused(std::string(kServe) + "--max-num-seqs 0", "max_num_seqs");
}

}  // namespace
}  // namespace retrosim::test
