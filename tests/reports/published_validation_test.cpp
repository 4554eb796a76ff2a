#include "reports/published_validation.h"

#include <gtest/gtest.h>

#include <fstream>

#include "model/error.h"

namespace retrosim {
namespace {

PublishedRow quest_row() {
  return {.row = "8",
          .policy = "Quest",
          .model = "Llama-2-7B FP16 weights",
          .gpu = "RTX 6000 Ada",
          .context = "16K",
          .batch = "1",
          .budget = "1024",
          .metric = "decode latency per token",
          .value = "≈18.9",
          .unit = "ms",
          .evidence = "P",
          .source = "Quest"};
}

std::string reason(const PublishedRow& row) {
  const auto mapping = map_published_row(row);
  const auto* unmapped = std::get_if<Unmapped>(&mapping);
  return unmapped != nullptr ? unmapped->reason : "mapped";
}

TEST(PublishedRow, BecomesTheConfigurationThatItDescribes) {
  const auto mapping = map_published_row(quest_row());
  const auto& question = std::get<PublishedCase>(mapping);
  EXPECT_EQ(question.gpu, "rtx-6000-ada");
  EXPECT_EQ(question.value, 18.9);
  EXPECT_EQ(question.config.policy->name(), "quest");
  EXPECT_EQ(question.config.context, 16384);
  EXPECT_EQ(question.config.policy->pages_selected(1024, 16), 64);  // 1,024 tokens
  EXPECT_EQ(question.config.dense_layers, 2);
  EXPECT_EQ(question.config.sm_count, 142);
  ASSERT_EQ(question.assumptions.size(), 1U);  // beyond the model's 4,096 positions
}

TEST(PublishedRow, SaysWhyItIsNotCompared) {
  PublishedRow row = quest_row();
  row.value = "OOM";
  EXPECT_NE(reason(row).find("OOM"), std::string::npos);
  row = quest_row();
  row.policy = "Quest vs TOVA";
  EXPECT_NE(reason(row).find("policy"), std::string::npos);
  row = quest_row();
  row.budget = "see paper";
  EXPECT_NE(reason(row).find("budget"), std::string::npos);
  row = quest_row();
  row.metric = "prefill time";
  EXPECT_NE(reason(row).find("prefill time"), std::string::npos);
  row = quest_row();
  row.gpu = "host DRAM";
  EXPECT_NE(reason(row).find("host DRAM"), std::string::npos);
  row = quest_row();
  row.batch = "max";
  EXPECT_NE(reason(row).find("batch"), std::string::npos);
}

TEST(PublishedRow, ReadsRangesAndOwnUnits) {
  PublishedRow row = quest_row();
  row.context = "11,770";
  row.value = "68–71";
  const auto mapping = map_published_row(row);
  EXPECT_EQ(std::get<PublishedCase>(mapping).config.context, 11770);
  EXPECT_EQ(std::get<PublishedCase>(mapping).value, 69.5);
}

class PublishedFile : public ::testing::Test {
 protected:
  void write(const std::string& text) { std::ofstream(file_) << text; }
  void TearDown() override { std::filesystem::remove(file_); }
  std::filesystem::path file_ = std::filesystem::temp_directory_path() / "retrosim_published_test.csv";
  const std::string header_ = "row,policy,model,gpu,context,batch,budget,metric,value,unit,evidence,source\n";
};

TEST_F(PublishedFile, CountsEveryRowOnce) {
  write(header_ +
        "1,Full (FlashInfer),Llama-2-7B FP16 weights,RTX 6000 Ada,8K,1,full,decode latency per token,21.6,ms,P,Quest\n"
        "2,Quest,\"Llama-2-7B, odd\",RTX 6000 Ada,8K,1,512,\"decode latency, per token\",17.7,ms,P,Quest\n");
  const PublishedValidation validation = validate_published(file_);
  ASSERT_EQ(validation.compared.size(), 1U);
  ASSERT_EQ(validation.unmapped.size(), 1U);
  EXPECT_EQ(validation.unmapped[0].first.model, "Llama-2-7B, odd");
  EXPECT_GT(validation.compared[0].predicted, 0);
  EXPECT_DOUBLE_EQ(median_abs_error(validation.compared), std::abs(validation.compared[0].predicted / 21.6 - 1));
  const Json json = published_validation_json(validation);
  EXPECT_EQ(json.at("rows"), 2);
  EXPECT_EQ(json.at("mapped"), 1);
  EXPECT_NO_THROW(json_text(json));
}

TEST_F(PublishedFile, RefusesOtherTables) {
  write("a,b\n1,2\n");
  EXPECT_THROW(validate_published(file_), InputError);
  write(header_ + "1,2,3\n");
  EXPECT_THROW(validate_published(file_), InputError);
  EXPECT_THROW(validate_published("/nonexistent.csv"), InputError);
}

TEST(PublishedTable, EveryRowIsComparedOrExplained) {
  const std::filesystem::path file = std::filesystem::path(RETROSIM_SHARED_DIR) / "measured" / "policies_published.csv";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is not beside the checkout";
  const PublishedValidation validation = validate_published(file);
  EXPECT_EQ(
      validation.compared.size() + validation.sizes.size() + validation.derived.size() + validation.unmapped.size(),
      read_published_rows(file).size());
  EXPECT_GT(validation.compared.size(), 40U);
  for (const auto& [row, why] : validation.unmapped) EXPECT_FALSE(why.reason.empty()) << row.row;
  for (const PublishedComparison& comparison : validation.compared) EXPECT_GT(comparison.predicted, 0);
}

}  // namespace
}  // namespace retrosim
