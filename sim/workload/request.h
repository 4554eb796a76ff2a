// One request of a serving workload.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/des/time.h"

namespace retrosim {

struct Request {
  TimePs arrival = 0;              // of a later turn: after the end of the turn before it (think time)
  std::int32_t input_tokens = 0;   // >= 1; of a later turn with all that was said before
  std::int32_t output_tokens = 0;  // >= 1
  std::int32_t session = -1;       // conversation that it belongs to; -1: none
  std::int32_t previous = -1;      // index of the turn that must have ended first; -1: none
  std::uint32_t first_hash = 0;    // in Workload::hash_ids
  std::uint32_t num_hashes = 0;    // 0: what the prompt says is not known
  friend bool operator==(const Request&, const Request&) = default;
};

/// Requests in the order of their arrivals; the later turns of a session follow its first one.
struct Workload {
  std::vector<Request> requests;
  std::string description;                // how it came about, with every parameter
  std::int64_t skipped_unanswered = 0;    // rows of a trace that record no response (BurstGPT's failures)
  std::int64_t sessions = 0;              // conversations of several turns
  std::int64_t shared_prefix_tokens = 0;  // tokens that begin every session's prompts (a system prompt)
  /// Of every request in turn: what the blocks of its prompt say, each with all before it; equal ids, equal tokens.
  static constexpr std::int64_t kHashedBlockTokens = 512;  // Mooncake's
  std::vector<std::uint64_t> hash_ids;
};

}  // namespace retrosim
