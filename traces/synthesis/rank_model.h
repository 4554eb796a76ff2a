// A model of how one KV head ranks pages and spreads its attention, fitted to recorded steps.
//
// Rows. Every page has two latent numbers per step: z, the normal score of its rank (the standard normal quantile of
// its place among the step's pages, the best highest), and y, the logarithm of its attention mass. A row is one of them
// over the recorded steps, of
//   a bulk page     pages that stay more than `recent` pages away from the end over all recorded steps, by their index;
//   a recent place  the d-th page from the end, d = 0 being the page that is filled: whichever page stands there.
// Factors. row(t) = affinity + sum_f loading_f * factor_f(t) + residual(t): the principal components of all rows
// together, the rows of z and those of y each scaled to unit variance over pages and steps. The affinity is what
// persists (sinks, persistent pages, the recency profile); the factors, of which a step has one value each, are what
// the query does to all pages at once (drift, bursts); the residual is what is left.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "traces/synthesis/recorded_list.h"

namespace retrosim {

/// Factors of a model: one per 8 fitted steps, so that their share of the variance does not fall as steps are added.
constexpr std::int64_t factors_for(std::int64_t steps) { return std::clamp<std::int64_t>(steps / 8, 1, 64); }
inline constexpr std::int64_t kRecentPages = 16;
inline constexpr std::int64_t kSinkPages = 4;

/// Standard normal quantile of `probability` in (0, 1), to 1.2e-9 relative (Acklam's rational approximation).
double normal_quantile(double probability);

class RankModel {
 public:
  /// Throws std::invalid_argument for fewer than 2 steps or pages than 2 * kRecentPages at the first of them.
  explicit RankModel(const RecordedList& list);

  std::int64_t num_steps() const { return num_steps_; }
  std::int64_t bulk_pages() const { return bulk_; }
  /// Share of the rows' (scaled) variance that the factors carry.
  double factor_share() const { return factor_share_; }

  /// z and y of all rows when the factors are those of recorded step `factor_step` and the residuals those of
  /// `residual_step`: the bulk pages' by index, then the recent places' by d.
  void rows(std::int64_t factor_step, std::int64_t residual_step, std::vector<float>& z, std::vector<float>& y) const;

 private:
  std::int64_t num_steps_;
  std::int64_t bulk_;
  std::int64_t rows_;  // of z; as many of y
  double factor_share_ = 0;
  std::vector<float> affinity_;  // [2 * rows]
  std::vector<float> loading_;   // [factors][2 * rows]
  std::vector<float> factor_;    // [num_steps][factors]
  std::vector<float> residual_;  // [num_steps][2 * rows]
};

}  // namespace retrosim
