#include "calibrate/live/generate.h"
#include "kernels/host_decoder.h"
#include "model/error.h"
#include "traces/record.h"

namespace retrosim {

std::vector<std::int32_t> generate_on_host(const GenerateRequest& request) {
  const TokensFile file = load_tokens(request.tokens_file);
  const LlmWeights weights = load_llm_weights(request.checkpoint);
  if (request.prompt < 1 || request.prompt > static_cast<std::int64_t>(file.tokens.size())) {
    throw InputError(request.tokens_file.string(), "prompt", std::to_string(request.prompt), "tokens of the file");
  }
  DecodeConfig config;
  config.llm = weights.llm;
  config.policy = make_policy(request.config.policy, {.budget = request.config.budget});
  config.window = request.config.window;
  config.page_size = request.config.page_size;
  config.dense_layers = request.config.dense_layers;
  config.kv_dtype = DType::f32;
  config.context = request.prompt + request.steps;
  kernels::HostDecoder decoder(weights, config, {.max_tokens = config.context});
  decoder.prefill(std::span(file.tokens).first(static_cast<std::size_t>(request.prompt)));
  std::vector<std::int32_t> tokens{decoder.sampled().at(0)};
  while (static_cast<std::int64_t>(tokens.size()) < request.steps) {
    decoder.step(std::span(&tokens.back(), 1));
    tokens.push_back(decoder.sampled().at(0));
  }
  return tokens;
}

}  // namespace retrosim
