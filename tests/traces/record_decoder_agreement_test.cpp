// The recorder's forward pass and the host decoder against an independent implementation, on a real checkpoint. Needs
// the checkpoint and tokens of traces/recipes/README.md, named by RETROSIM_CHECKPOINT and RETROSIM_TOKENS, and reads
// what the other implementation said from RETROSIM_REFERENCE (default: the published one). RETROSIM_PREDICTIONS_OUT
// names a file to write our predictions to.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "kernels/forward/next_token.h"
#include "kernels/host_decoder.h"
#include "model/json_reader.h"
#include "traces/record.h"

namespace retrosim {
namespace {

using kernels::NextToken;

std::string environment(const char* name, const std::string& fallback = "") {
  const char* value = std::getenv(name);
  return value != nullptr ? value : fallback;
}

std::vector<NextToken> read_reference(const std::filesystem::path& file) {
  const nlohmann::json document = read_json_file(file);
  std::vector<NextToken> positions;
  for (const JsonReader& row : JsonReader(document, file.string()).objects("positions")) {
    positions.push_back({.position = row.integer("position", 0, 1 << 24),
                         .next_token = static_cast<std::int32_t>(row.integer("next_token", 0, 1 << 24)),
                         .next_log_prob = row.number("next_log_prob"),
                         .top1 = static_cast<std::int32_t>(row.integer("top1", 0, 1 << 24)),
                         .top1_log_prob = row.number("top1_log_prob")});
  }
  return positions;
}

void write_predictions(const std::vector<NextToken>& predictions, const std::string& file) {
  nlohmann::ordered_json json;
  json["implementation"] = "retrosim, float32, CPU";
  for (const NextToken& p : predictions) {
    json["positions"].push_back(nlohmann::ordered_json{{"position", p.position},
                                                       {"next_token", p.next_token},
                                                       {"next_log_prob", std::round(p.next_log_prob * 1e6) / 1e6},
                                                       {"top1", p.top1},
                                                       {"top1_log_prob", std::round(p.top1_log_prob * 1e6) / 1e6}});
  }
  std::ofstream(file) << json.dump() << '\n';
}

double share_of_equal_top1(const std::vector<NextToken>& ours, const std::vector<NextToken>& theirs) {
  std::size_t equal = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) equal += ours[i].top1 == theirs[i].top1 ? 1 : 0;
  return static_cast<double>(equal) / static_cast<double>(ours.size());
}

class DecoderAgreement : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string checkpoint = environment("RETROSIM_CHECKPOINT");
    const std::string tokens_file = environment("RETROSIM_TOKENS");
    if (checkpoint.empty() || tokens_file.empty()) {
      GTEST_SKIP() << "set RETROSIM_CHECKPOINT and RETROSIM_TOKENS (traces/recipes/README.md)";
    }
    weights = load_llm_weights(checkpoint);
    tokens = load_tokens(tokens_file).tokens;
    reference = read_reference(environment("RETROSIM_REFERENCE", RETROSIM_SOURCE_DIR
                                           "/reports/published/samples/decoder-check/transformers-first-512.json"));
    ASSERT_GT(tokens.size(), static_cast<std::size_t>(reference.back().position + 1));
    for (const NextToken& row : reference) ASSERT_EQ(row.next_token, tokens[row.position + 1]) << row.position;
  }

  LlmWeights weights;
  std::vector<std::int32_t> tokens;
  std::vector<NextToken> reference;
};

TEST_F(DecoderAgreement, ForwardPassPredictsWhatTheReferencePredicts) {
  const std::vector<NextToken> ours = kernels::next_token_log_probs(
      weights, tokens, reference.front().position, static_cast<std::int64_t>(reference.size()), 128, 2);
  const std::string out = environment("RETROSIM_PREDICTIONS_OUT");
  if (!out.empty()) write_predictions(ours, out);
  EXPECT_GE(share_of_equal_top1(ours, reference), 0.99);
  const double expected = kernels::perplexity(reference);
  EXPECT_LE(std::abs(kernels::perplexity(ours) / expected - 1), 0.01);
}

TEST_F(DecoderAgreement, HostDecoderPredictsWhatTheReferencePredicts) {
  if (reference.front().position != 0) GTEST_SKIP() << "decodes from the start of the text only";
  const auto steps = std::min<std::size_t>(reference.size(), 48);
  DecodeConfig config;
  config.policy = make_policy("full", {});
  kernels::HostDecoder decoder(weights, config, {.max_tokens = static_cast<std::int64_t>(steps)});
  std::vector<NextToken> ours;
  for (std::size_t t = 0; t < steps; ++t) {
    const std::vector<float>& logits = decoder.step(std::span(tokens).subspan(t, 1));
    ours.push_back(kernels::predict(static_cast<std::int64_t>(t), tokens[t + 1], logits));
    EXPECT_NEAR(ours.back().next_log_prob, reference[t].next_log_prob, 1e-2);
  }
  EXPECT_GE(share_of_equal_top1(ours, reference), 0.97);  // at most one of 48
}

}  // namespace
}  // namespace retrosim
