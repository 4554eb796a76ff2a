// A whole sweep: its points computed by threads and ranks, its rows written.
#pragma once

#include <functional>
#include <string>

#include "reports/sweep_spec.h"
#include "sim/sweep/coordinator.h"

namespace retrosim {

struct SweepOptions {
  std::string out;  // .csv or .jsonl
  bool resume = false;
  int threads = 1;             // of each rank
  double rank_timeout_s = 30;  // silence after which a rank is taken for lost
};

struct SweepOutcome {
  std::uint64_t points = 0;
  std::uint64_t resumed = 0;  // that the file held already
  double elapsed_s = 0;
  RankEnd end = RankEnd::together;
};

/// Throws InputError for options out of range, or when the file cannot be written. `link` is null where this process is
/// the only one; rank 0 alone touches the file.
SweepOutcome run_sweep(const SweepSpec& spec, const SweepOptions& options, RankLink* link,
                       const std::function<void(const SweepProgress&)>& progress);

/// "12000 of 100000 points (12.0 %), 3400 points/s, 2 ranks, 26 s left".
std::string describe(const SweepProgress& progress);

}  // namespace retrosim
