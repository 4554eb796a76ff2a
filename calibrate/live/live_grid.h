// The grid of `retrosim validate`: which live configurations are held against the simulator.
#pragma once

#include <cstdint>
#include <vector>

#include "calibrate/live/live_config.h"

namespace retrosim {

struct LiveGridOptions {
  std::uint64_t seed = 1;
  int points = 104;            // each a pair: quest at window 1 and at 2, 4, 8 or 16
  double device_bytes = 56e9;  // of one configuration at most
  double floor_us = 12000;     // no step whose bytes alone take longer, at `bytes_per_s`
  double bytes_per_s = 3e12;
};

/// Model shapes from 135M to 32B, batch 1 to 64, context 2k to 128k within the model's, budget 0.05 to 1, pages of 8 to
/// 64 tokens, bf16 and fp8 caches, all log-uniform or even; the first few layers of the model, as many as leave no
/// weights or pages in L2 from step to step, and its LM head. Every second point moves more than half of its bytes for
/// keys, values and summaries ("grid.kv"), the others less ("grid.weights"). Further configurations run the full
/// policy. Grouped so that neighbours can share weights.
std::vector<LiveConfig> live_grid(const LiveGridOptions& options);

/// full, streaming, quest, retro, reuse and arkvale on three shapes of Llama-3.1-8B.
std::vector<LiveConfig> policy_grid(std::uint64_t seed);

/// The paper's overhead claims: quest at windows 1 to 16 by context and batch, Llama-3.1-8B.
std::vector<LiveConfig> overhead_grid(std::uint64_t seed);

/// A copy from host memory beside the step, 0 to 256 MB.
std::vector<LiveConfig> overlap_grid(std::uint64_t seed);

/// What Nsight Compute looks at: 24 configurations whose large kernels read or write 64 MB and more.
std::vector<LiveConfig> counter_grid(std::uint64_t seed);

}  // namespace retrosim
