// `retrosim fidelity` as a user meets it, on a small random model.
#include <gmock/gmock.h>

#include "tests/cli/program.h"
#include "tests/kernels/random_model.h"

namespace retrosim::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::string kEveryVariant = "full,quest,retro:2,retro:4,retro:8,retro:16,oracle,reuse:2,served:2";

class FidelityCommand : public testing::Test {
 protected:
  void SetUp() override {
    kernels::write_checkpoint(kernels::random_model({}, 8), folder / "model");
    std::ofstream(folder / "tokens.json") << json{{"tokens", kernels::random_tokens(80, 50, 9)}};
  }
  std::string command(const std::string& rest) const {
    return "fidelity --checkpoint " + (folder / "model").string() + " --tokens " + (folder / "tokens.json").string() +
           " --page-size 4 --dense-layers 1 --threads 1 " + rest;
  }
  TemporaryFolder folder;
};

TEST_F(FidelityCommand, TeacherForcedMeasuresEveryVariantAtEveryBudget) {
  const Outcome outcome =
      run(command("--first-position 40 --steps 16 --budgets 0.2,0.4 --json --variants " + kEveryVariant));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json answer = outcome.json();
  EXPECT_EQ(answer.at("schema"), "retrosim.fidelity/1");
  EXPECT_EQ(answer.at("inputs").at("mode"), "teacher_forced");
  EXPECT_EQ(answer.at("inputs").at("num_steps"), 16);
  const json& results = answer.at("results");
  ASSERT_EQ(results.size(), 18U);  // 2 budgets, 9 variants
  for (const json& result : results) {
    const double kl = result.at("kl_nats").at("mean");
    if (result.at("variant") == "full") {
      EXPECT_LT(kl, 1e-7);
      EXPECT_EQ(result.at("top1_agreement"), 1.0);
      const double perplexity = result.at("full_attention_perplexity");
      EXPECT_NEAR(result.at("perplexity").get<double>(), perplexity, 1e-5 * perplexity);
    } else {
      EXPECT_GT(kl, 1e-7) << result.at("variant");
    }
    if (result.at("variant") == "quest") EXPECT_EQ(result.at("kl_ratio_to_quest").at("mean"), 1.0);
    // 16 steps in eighths
    ASSERT_EQ(result.at("course").size(), 8U);
    double sum = 0;
    for (const json& part : result.at("course")) {
      EXPECT_EQ(part.at("num_steps"), 2);
      sum += part.at("kl_nats_mean").get<double>();
    }
    EXPECT_NEAR(sum / 8, kl, 1e-9 + 1e-6 * kl);
    EXPECT_FALSE(result.contains("kl_nats_steps"));
  }
  // More of the pages, less divergence.
  EXPECT_LT(results.at(10).at("kl_nats").at("mean"), results.at(1).at("kl_nats").at("mean"));
}

TEST_F(FidelityCommand, FreeRunningFollowsEachVariantsOwnText) {
  const Outcome outcome = run(command(
      "--first-position 40 --steps 12 --budgets 0.2 --free-running --per-step --json --variants quest,retro:2"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json answer = outcome.json();
  EXPECT_EQ(answer.at("inputs").at("mode"), "free_running");
  const json& results = answer.at("results");
  ASSERT_EQ(results.size(), 3U);  // full comes first, asked for or not
  EXPECT_EQ(results.at(0).at("variant"), "full");
  EXPECT_EQ(results.at(0).at("tokens_before_divergence"), 12);
  EXPECT_EQ(results.at(0).at("tokens_equal_to_full"), 1.0);
  for (const json& result : results) {
    EXPECT_EQ(result.at("tokens").size(), 12U);
    EXPECT_EQ(result.at("kl_nats_steps").size(), 12U);
  }
}

TEST_F(FidelityCommand, TextNamesVariantsAndWhatWasDecoded) {
  const Outcome outcome = run(command("--first-position 40 --steps 8 --budgets 0.2 --variants quest,served:2"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("8 tokens after 40, teacher-forced"));
  EXPECT_THAT(outcome.out, HasSubstr("served:2"));
  EXPECT_THAT(outcome.err, HasSubstr("8 of 8 steps"));
}

TEST_F(FidelityCommand, RefusesWhatCannotBeMeasured) {
  expect_refused(command("--first-position 40 --variants quest,retro:99"), "retro:99");
  expect_refused(command("--first-position 40 --variants snapkv"), "snapkv");
  expect_refused(command("--first-position 40 --budgets 0"), "budget");
  expect_refused(command("--first-position 79"), "first position");
  expect_refused(command("--first-position 40 --steps 40"), "steps");
  expect_refused("fidelity --checkpoint " + (folder / "none").string() + " --tokens " +
                     (folder / "tokens.json").string() + " --first-position 40",
                 "none");
}

}  // namespace
}  // namespace retrosim::test
