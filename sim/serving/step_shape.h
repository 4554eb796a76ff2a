// What one step of a continuously batched engine does.
#pragma once

#include <cstdint>

namespace retrosim {

/// Decoding sequences take one token each; prompt chunks take `prefill_tokens` together.
struct StepShape {
  std::int64_t decodes = 0;      // sequences
  std::int64_t context_sum = 0;  // tokens of the decoding sequences, the current ones included
  std::int64_t prefill_tokens = 0;
  std::int64_t prefill_chunks = 0;  // sequences that these tokens belong to
  std::int64_t prefill_pairs = 0;   // (query, visible key) pairs of the chunks: sum of n * before + n (n + 1) / 2

  void add_chunk(std::int64_t new_tokens, std::int64_t context_before) {
    prefill_tokens += new_tokens;
    ++prefill_chunks;
    prefill_pairs += new_tokens * context_before + new_tokens * (new_tokens + 1) / 2;
  }
  friend bool operator==(const StepShape&, const StepShape&) = default;
};

}  // namespace retrosim
