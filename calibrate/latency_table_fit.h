// Fits the tables of a kind (model/latency_table.h) to what its roofline leaves of measured times.
#pragma once

#include <cstdint>
#include <vector>

#include "model/latency_table.h"

namespace retrosim {

/// One measured operation beside its roofline.
struct TableSample {
  Op op;
  double log_ratio = 0;  // natural logarithm of measured / roofline
  int fold = 0;          // samples of one fold are left out together when the smoothness is chosen
};

struct TableFit {
  std::vector<LatencyTable> tables;
  double smoothness = 0;        // the one chosen
  double cross_validation = 0;  // mean absolute log error of samples that the fit left out
};

/// Least squares with Huber's weights over the factors of all `grids` together, whose log factors add up, plus
/// `smoothness` times the sum of squared second differences along every axis (first differences where an axis has two
/// knots) and a small pull to 0, so that points without samples continue their neighbours. The smoothness is the one of
/// `candidates` with the least error over `folds` left-out folds. Same samples, same tables. Throws InputError without
/// samples.
TableFit fit_latency_tables(const std::vector<std::vector<LatencyTable::Axis>>& grids,
                            const std::vector<TableSample>& samples, int sm_count,
                            const std::vector<double>& candidates, int folds);

/// Knots at these values: log2(1 + value).
LatencyTable::Axis axis_at(ShapeAxis axis, const std::vector<double>& values);

}  // namespace retrosim
