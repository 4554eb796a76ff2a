#include <algorithm>

#include "calibrate/live/checkpoint_decoder.h"
#include "calibrate/live/generate.h"
#include "kernels/cuda/check.h"
#include "model/error.h"
#include "traces/record.h"

namespace retrosim::gpu {

using namespace retrosim::kernels::cuda;

std::vector<std::int32_t> generate(const GenerateRequest& request) {
  if (!gpu_available()) throw InputError("", "GPU", "none", "a GPU of compute capability 8.0 or later");
  constexpr int kRows = 64;
  constexpr std::uint64_t kSeed = 1;
  const TokensFile file = load_tokens(request.tokens_file);
  const LlmWeights weights = load_llm_weights(request.checkpoint);
  const std::int64_t last_given = request.prompt - 1;
  if (last_given < 1 || request.prompt > static_cast<std::int64_t>(file.tokens.size())) {
    throw InputError(request.tokens_file.string(), "prompt", std::to_string(request.prompt),
                     "2 or more tokens of the file");
  }
  cudaStream_t stream = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const std::int64_t most = request.prompt + request.steps;
  PromptRunner prompt(weights, request.config.kv_dtype, most, request.config.page_size, kRows, kSeed, stream);
  for (std::int64_t at = 0; at < request.prompt; at += kRows) {
    const std::int64_t count = std::min<std::int64_t>(kRows, request.prompt - at);
    prompt.run(std::span(file.tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)),
               [](int, std::int64_t, std::int64_t) {});
  }
  // The first token is the prompt's; full attention, as on the host.
  const std::int32_t first = prompt.chosen();
  std::vector<std::int32_t> tokens{first};
  DecodeConfig config = prompt.config();
  config.policy = make_policy(request.config.policy, {.budget = request.config.budget});
  config.window = request.config.window;
  config.batch = 1;
  config.dense_layers = request.config.dense_layers;
  config.context = most;
  DecodeWeights device_weights(config.llm, request.config.kv_dtype, config.window, 1);
  device_weights.upload(weights);
  CheckpointDecoder decoder(device_weights, config, prompt, kSeed, stream);
  decoder.restart(first);
  while (static_cast<std::int64_t>(tokens.size()) < request.steps) {
    decoder.executor().replay(stream);
    tokens.push_back(decoder.chosen());
  }
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
  return tokens;
}

}  // namespace retrosim::gpu
