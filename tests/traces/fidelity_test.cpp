#include "traces/fidelity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "model/error.h"
#include "tests/kernels/random_model.h"

namespace retrosim {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

// p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4): KL = 1/2 ln 2 - 1/4 ln 2 = 1/4 ln 2. Logits may carry any constant.
TEST(KlDivergence, ByHand) {
  const std::vector<float> p{std::log(2.0F), 0, 0};
  const std::vector<float> q{7, 7 + std::log(2.0F), 7};
  EXPECT_NEAR(kl_divergence(p, q), std::log(2.0) / 4, 1e-6);
  EXPECT_NEAR(kl_divergence(p, p), 0, 1e-12);
}

class Fidelity : public ::testing::Test {
 protected:
  std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / ::testing::UnitTest::GetInstance()->current_test_info()->name();
  FidelityOptions options{.first_position = 40,
                          .steps = 20,
                          .budgets = {0.3},
                          .variants = {"full", "quest", "retro:4", "oracle", "reuse:2", "served:2"},
                          .page_size = 4,
                          .dense_layers = 1,
                          .num_threads = 2};
  void SetUp() override {
    kernels::write_checkpoint(kernels::random_model({}, 8), folder / "model");
    std::ofstream(folder / "tokens.json") << nlohmann::json{{"tokens", kernels::random_tokens(80, 50, 9)}};
  }
  FidelityResult measure() const { return measure_fidelity(folder / "model", folder / "tokens.json", options); }
};

TEST_F(Fidelity, FullAttentionThroughTheDecodersIsTheDensePass) {
  const FidelityResult result = measure();
  ASSERT_EQ(result.runs.size(), 6U);
  for (const FidelityRun& run : result.runs) EXPECT_EQ(run.kl.size(), 20U);
  EXPECT_THAT(result.runs[0].kl, Each(::testing::Lt(1e-7)));
  EXPECT_THAT(result.runs[0].agrees, Each(1));
  for (std::size_t i = 1; i < 6; ++i) EXPECT_GT(result.runs[i].kl.back(), 1e-5) << result.runs[i].variant;
  // 60 tokens are 15 pages at the end: ceil(0.3 * 15) = 5 are loaded.
  EXPECT_EQ(result.runs[1].pages_loaded.back(), 5);
  EXPECT_EQ(result.runs[1].unseen_visits.back(), 0);
  EXPECT_GT(result.runs[2].unseen_visits.back(), 0);
  EXPECT_GT(result.runs[5].pages_loaded.back(), 5);
}

TEST_F(Fidelity, AFullBudgetChangesNothing) {
  options.budgets = {1.0};
  options.variants = {"quest", "retro:4", "oracle"};
  for (const FidelityRun& run : measure().runs) EXPECT_THAT(run.kl, Each(::testing::Lt(1e-7))) << run.variant;
}

TEST_F(Fidelity, FreeRunningFollowsEachVariantsOwnChoices) {
  options.free_running = true;
  const FidelityResult result = measure();
  ASSERT_EQ(result.runs.size(), 7U);  // "full" is always there
  EXPECT_EQ(result.runs[0].variant, "full");
  EXPECT_EQ(result.runs[0].tokens, result.runs[1].tokens);
  EXPECT_THAT(result.runs[0].kl, Each(::testing::Lt(1e-7)));
  for (const FidelityRun& run : result.runs) {
    EXPECT_EQ(run.tokens.size(), 20U);
    EXPECT_EQ(run.kl.size(), 20U);
  }
}

TEST_F(Fidelity, RefusesWhatItCannotUse) {
  const auto message = [&] {
    try {
      measure();
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  options.variants = {"retro"};
  EXPECT_THAT(message(), HasSubstr("full, quest, retro:W, oracle, reuse:N or served:N"));
  options.variants = {"retro:1"};
  EXPECT_THAT(message(), HasSubstr("2 to 64"));
  options.variants = {"retro:2x"};
  EXPECT_THAT(message(), HasSubstr("retro:2x"));
  options.variants = {"quest"};
  options.first_position = 79;
  EXPECT_THAT(message(), HasSubstr("1 to 78"));
  options.first_position = 40;
  options.steps = 40;
  EXPECT_THAT(message(), HasSubstr("1 to 39"));
}

}  // namespace
}  // namespace retrosim
