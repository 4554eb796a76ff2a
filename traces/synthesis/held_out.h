// How near a synthetic trace comes to recorded steps that its models have not seen.
#pragma once

#include <string>
#include <vector>

#include "traces/synthesis/synthesize.h"
#include "traces/trace_reader.h"

namespace retrosim {

inline constexpr double kHeldOutTolerance = 0.05;  // relative
inline constexpr double kHeldOutBudget = 0.15;     // of Quest's selection

struct HeldOutRow {
  std::string statistic;  // e.g. "overlap, lag 4"
  double recorded = 0;
  double synthetic = 0;
  double gap() const;  // |synthetic / recorded - 1|
};

struct HeldOutTest {
  std::string file;
  std::int64_t fitted_steps = 0;
  std::int64_t unseen_steps = 0;
  std::vector<HeldOutRow> rows;
  double worst_gap() const;
};

/// Fits to the first half of the trace's steps, synthesizes the contexts of the second half in the same shape, and
/// compares with the second half as recorded, under Quest at kHeldOutBudget over all layers and heads:
///   overlap at lags 1, 4 and 16; reuse distance: the mean stack distance, in pages, and the mean age, in steps;
///   exposure after 1, 3, 7 and 15 later steps; attention-mass recall with windows 1, 2, 4, 8 and 16.
/// `scratch` is the synthetic trace's file, removed again. Throws InputError as synthesize() does, and for a trace
/// whose half has not more than 16 steps.
HeldOutTest held_out_test(const TraceReader& trace, const SynthesisOptions& options,
                          const std::filesystem::path& scratch);

/// What the header of a synthetic trace says: "synthetic, within 5 % of the unseen half of A and B", "synthetic, not
/// within 5 % of the unseen half of A (worst gap 7.1 %: exposure, n = 15)", or, of no tests, "synthetic, not tested
/// against recorded steps".
std::string held_out_label(const std::vector<HeldOutTest>& tests);

}  // namespace retrosim
