// The designed grid of `retrosim calibrate`: small decoders of random shape, each run as whole steps and as chains of
// its operations.
#pragma once

#include <cstdint>
#include <vector>

#include "model/decode_config.h"
#include "model/gpu_spec.h"

namespace retrosim {

/// One small decoder and the batch that it decodes.
struct CalibrationCase {
  int index = 0;
  DecodeConfig config;
  // Of the pages that attention loads, the share that the query before has seen (drives unseen visits; window > 1).
  double seen_share = 1;
  // Further shares at which attention is measured in the same case.
  std::vector<double> more_seen_shares = {};
  bool attention_alone = false;  // nothing else is measured
};

/// Cases from here on are of attention alone: its time depends on more than ten numbers, so it needs more samples than
/// the other operations, and without a model's weights a case takes a tenth of the time.
inline constexpr int kFirstAttentionCase = 100'000;

/// Case `index` of the grid drawn from `seed`: the same numbers give the same case. Shapes are log-uniform: hidden 512
/// to 8192, rows 1 to 2048, contexts 1k to 128k, budgets 0.05 to 1, windows 1 to 32, pages of 8 to 64 tokens, head
/// sizes 64 and 128, bf16 and fp8 caches; as many layers as exceed the GPU's L2 several times over, within its memory.
/// Any run of consecutive cases covers the grid evenly. From kFirstAttentionCase on weights are next to nothing, and of
/// batch, heads, window, pages and dtype of the cache every combination is about as likely.
CalibrationCase calibration_case(int index, std::uint64_t seed, const GpuSpec& gpu);

/// Bytes of weights, KV cache and summaries that the case needs.
double device_bytes(const CalibrationCase& one);

}  // namespace retrosim
