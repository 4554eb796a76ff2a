// Which tokens of a request equal which tokens of others, as far as a workload knows.
#pragma once

#include <cstdint>

#include "sim/workload/request.h"

namespace retrosim {

/// A request's tokens are a chain of stretches, each with an identity: the prefix that all sessions share, then its
/// session's own text (which only grows, so that a later turn's prompt begins with all tokens of the earlier ones); or
/// the blocks whose hash_ids a trace recorded; else, and for what follows them, tokens of its own. Two tokens are the
/// same when the same stretch has them at the same place.
class PromptContent {
 public:
  /// Keeps a reference to `workload`.
  explicit PromptContent(const Workload& workload) : workload_(workload) {}

  /// Hash of tokens [first, first + count) of `request` behind a prefix of the given hash (0: nothing before), as vLLM
  /// chains block hashes: equal for two requests when they agree in these tokens and in all before. 64 bits: among 1e8
  /// blocks a false match has a chance of 3e-4.
  std::uint64_t chain(std::uint64_t prefix, std::uint32_t request, std::int64_t first, std::int64_t count) const;

 private:
  struct Stretch {
    std::uint64_t id = 0;
    std::int64_t begin = 0;  // first token of the stretch in the request
    std::int64_t end = 0;
  };
  Stretch stretch_at(std::uint32_t request, std::int64_t token) const;

  const Workload& workload_;
};

}  // namespace retrosim
