// Latencies of engine steps, fast: decode steps interpolated between contexts, prompt rows priced on top.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/serving/exact_step.h"

namespace retrosim {

/// For every batch size that occurs, decode steps are simulated exactly at knots of the mean context (four per octave)
/// and interpolated linearly between them in the sum of contexts, in whole picoseconds per token, so that the time of
/// many steps in a row has a closed form that equals their sum to the last bit. Prompt rows add the difference that
/// they make to the price of each row-wise operation, and their own attention: exact for policies on one stream.
class StepCosts {
 public:
  StepCosts(const ServingConfig& config, std::shared_ptr<const Pricer> pricer);

  /// One step, the host's overhead included; exact when the configuration asks for it.
  TimePs step(const StepShape& shape);

  /// `steps` decode steps in a row of `decodes` sequences whose contexts sum up to `context_sum` in the first of them
  /// and grow by one token each per step. Equals the sum of step() over them.
  TimePs decode_run(std::int64_t decodes, std::int64_t context_sum, std::int64_t steps);

  /// The least number of such steps, in [1, max_steps], that take at least `time`; max_steps when none do.
  std::int64_t decode_steps_until(std::int64_t decodes, std::int64_t context_sum, std::int64_t max_steps, TimePs time);

  /// From the step graph, the host's overhead included.
  TimePs exact(const StepShape& shape) { return exact_.latency(shape) + overhead_; }
  bool always_exact() const { return always_exact_; }

 private:
  /// Operations of a step whose rows grow with prompt tokens, equal ones taken together.
  struct RowOp {
    Op op;
    double count = 0;
    double latency_s = 0;
  };
  struct Row {
    std::vector<TimePs> value;  // [knots], overhead included
    std::vector<TimePs> slope;  // [knots], ps per token of the context sum, from this knot on
    std::vector<RowOp> ops;
  };
  struct WindowedLayers {
    int layer = 0;  // one of them
    double count = 0;
  };

  Row& row(std::int64_t decodes);
  void simulate_knot(Row& row, std::int64_t decodes, std::size_t knot);
  /// Fills value and slope of a knot.
  void prepare(Row& row, std::int64_t decodes, std::size_t knot);
  std::vector<RowOp> row_ops(const StepGraph& graph) const;
  TimePs prefill_extra(const std::vector<RowOp>& ops, const StepShape& shape, std::int64_t rows_there);
  std::size_t knot_before(std::int64_t decodes, std::int64_t context_sum) const;

  ExactStep exact_;
  TimePs overhead_;
  bool always_exact_;
  std::vector<std::int64_t> knots_;  // contexts, tokens
  std::vector<Row> rows_;            // [decodes]; [0] holds the operations of a step without decoding
  std::vector<WindowedLayers> prefill_layers_;
};

}  // namespace retrosim
