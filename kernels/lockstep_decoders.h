// Host decoders that continue one prompt, each with a configuration of its own, in lockstep: every linear map is one
// product over the rows of all of them, so that its weights are read once per step.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/forward/dense_forward.h"
#include "kernels/forward/workers.h"
#include "kernels/host_decoder.h"

namespace retrosim::kernels {

struct LockstepMember {
  DecodeConfig config;
  HostDecoderOptions options;  // max_tokens is set by LockstepDecoders
};

class LockstepDecoders {
 public:
  /// The prompt is the forward pass' first `prompt_tokens` tokens; whole pages of it are shared, its last open page is
  /// copied. All members need the same page size; `max_tokens` counts the prompt. Throws InputError for a configuration
  /// that a HostDecoder refuses.
  LockstepDecoders(const LlmWeights& weights, const DenseForward& prompt, std::int64_t prompt_tokens,
                   std::span<const LockstepMember> members, std::int64_t max_tokens, int num_threads);

  std::size_t size() const { return decoders_.size(); }

  /// One decode step of every member, each with its own token.
  void step(std::span<const std::int32_t> tokens);

  /// Logits of a member's last step. [vocab]
  const std::vector<float>& logits(std::size_t member) const { return decoders_[member].logits(); }
  const HostDecoder& decoder(std::size_t member) const { return decoders_[member]; }

 private:
  void multiply(std::span<const std::optional<PendingProduct>> products);

  Workers workers_;
  std::shared_ptr<HostKvCache> cache_;
  std::vector<HostDecoder> decoders_;
  std::vector<float> input_;   // [rows of all members, k]
  std::vector<float> output_;  // [rows of all members, n]
};

}  // namespace retrosim::kernels
