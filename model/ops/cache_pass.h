// What sparse-attention systems do to a cache beside attending to it: gather, copy, accumulate, compare.
#pragma once

#include <cstdint>

#include "model/traffic.h"

namespace retrosim {

/// One launch on CUDA cores that passes over parts of the KV cache, an index or scores, stated in bytes.
struct CachePassShape {
  std::int64_t kv_read = 0;      // keys and values
  std::int64_t index_read = 0;   // page digests, codes, centroids
  std::int64_t other_read = 0;   // scores, attention weights, ids
  std::int64_t kv_write = 0;     // keys and values
  std::int64_t index_write = 0;  // page digests, codes
  std::int64_t other_write = 0;  // scores, attention weights, ids
  double operations = 0;         // floating-point

  Traffic bytes_moved() const {
    return {.kv_read = kv_read,
            .summary_read = index_read,
            .other_read = other_read,
            .kv_write = kv_write,
            .summary_write = index_write,
            .other_write = other_write};
  }
  double flops() const { return operations; }
};

}  // namespace retrosim
