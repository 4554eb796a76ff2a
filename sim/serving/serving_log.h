// What a serving simulation writes down: every request, every second, and the gaps between tokens.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "sim/des/time.h"
#include "sim/serving/step_shape.h"

namespace retrosim {

enum class RequestOutcome : std::uint8_t { pending, finished, too_long, too_big };

/// "finished"; "longer than max_model_len"; "needs more KV blocks than a replica has".
const char* describe(RequestOutcome outcome);

struct RequestRecord {
  TimePs arrival = 0;
  TimePs scheduled = -1;    // first time in a step
  TimePs first_token = -1;  // end of the step that made it
  TimePs finish = -1;       // end of the step that made the last token
  std::int32_t input_tokens = 0;
  std::int32_t output_tokens = 0;
  std::int32_t preemptions = 0;
  std::int32_t cached_tokens = 0;  // of the prompt, found computed when it was first scheduled
  std::int16_t replica = -1;
  RequestOutcome outcome = RequestOutcome::pending;

  double ttft_s() const { return seconds_from_ps(first_token - arrival); }
  double e2e_s() const { return seconds_from_ps(finish - arrival); }
  double queue_s() const { return seconds_from_ps(scheduled - arrival); }
  /// (E2E - TTFT) / (output tokens - 1); 0 for one token.
  double tpot_s() const {
    return output_tokens > 1 ? seconds_from_ps(finish - first_token) / (output_tokens - 1) : 0.0;
  }
};

/// Counts of durations in bins whose width is 1/128 of their octave (0.8 % at most), so that hundreds of millions of
/// gaps cost no memory. Quantiles are the middle of the bin that holds the nearest rank.
class DurationHistogram {
 public:
  void add(TimePs duration, std::uint64_t count) {
    counts_[bin_of(duration)] += count;
    total_ += count;
    sum_s_ += seconds_from_ps(duration) * static_cast<double>(count);
  }
  std::uint64_t total() const { return total_; }
  double mean_s() const { return total_ > 0 ? sum_s_ / static_cast<double>(total_) : 0.0; }
  /// 0 when nothing was counted.
  double quantile_s(double p) const;

 private:
  static constexpr int kBits = 7;
  static std::size_t bin_of(TimePs duration) {
    const auto value = static_cast<std::uint64_t>(duration < 1 << kBits ? 1 << kBits : duration);
    const int octave = static_cast<int>(std::bit_width(value)) - 1;
    return static_cast<std::size_t>(octave - kBits) << kBits | (value >> (octave - kBits) & ((1 << kBits) - 1));
  }
  std::array<std::uint64_t, (64 - kBits) << kBits> counts_{};
  std::uint64_t total_ = 0;
  double sum_s_ = 0;
};

/// One second of all replicas: tokens by the end of the step that made them; gauges (running, waiting, kv_blocks_used)
/// as of the last scheduling that ended by then: a run of decode steps in which nobody joins or leaves counts once, at
/// its end.
struct SecondRecord {
  std::int64_t arrivals = 0;
  std::int64_t finished = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t generated_tokens = 0;
  std::int64_t running = 0;
  std::int64_t waiting = 0;
  std::int64_t kv_blocks_used = 0;
  std::int64_t kv_blocks_cached = 0;  // free, with a content that a prompt could find
};

/// A run of steps of one replica with the same sequences, for timelines.
struct StepRecord {
  TimePs start = 0;
  TimePs end = 0;
  StepShape shape;  // of the first step; each further one has a context longer by one token per sequence
  std::int64_t steps = 0;
  std::int64_t running = 0;           // sequences, as the steps begin
  std::int64_t waiting = 0;           // requests, as the steps begin
  std::int64_t kv_blocks_used = 0;    // with those of the first step
  std::int64_t kv_blocks_cached = 0;  // free, with a content that a prompt could find
  std::int16_t replica = 0;
};

struct PreemptionRecord {
  TimePs time = 0;  // of the scheduling that took the blocks away
  std::uint32_t request = 0;
  std::int16_t replica = 0;
};

/// Sums over all replicas.
struct ServingTotals {
  std::int64_t steps = 0;
  std::int64_t prefill_steps = 0;  // steps with prompt tokens
  std::int64_t prompt_tokens = 0;  // processed, recomputed ones included
  std::int64_t cached_tokens = 0;  // that prefix caching spared, after preemptions too
  std::int64_t generated_tokens = 0;
  std::int64_t preemptions = 0;
  std::int64_t max_running = 0;  // on one replica
  double decode_seconds = 0;     // sum over steps of duration
  double batch_seconds = 0;      // sum over steps of duration times decoding sequences
};

}  // namespace retrosim
