#include "sim/serving/step_costs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "sim/serving/mixed_step.h"

namespace retrosim {
namespace {

constexpr int kKnotsPerOctave = 4;
constexpr TimePs kUnknown = std::numeric_limits<TimePs>::min();
constexpr double kFirstKnots[] = {1, 16, 32, 48};

std::vector<std::int64_t> knots_up_to(std::int64_t limit) {
  std::vector<std::int64_t> knots;
  for (const double knot : kFirstKnots) {
    if (static_cast<std::int64_t>(knot) < limit) knots.push_back(static_cast<std::int64_t>(knot));
  }
  for (std::int64_t octave = 64; octave < limit; octave *= 2) {
    for (int part = 0; part < kKnotsPerOctave; ++part) {
      const std::int64_t knot = octave + octave * part / kKnotsPerOctave;
      if (knot < limit) knots.push_back(knot);
    }
  }
  knots.push_back(limit);
  return knots;
}

/// a / b to the nearest integer, b > 0.
TimePs divide_rounded(TimePs a, std::int64_t b) {
  const TimePs doubled = 2 * a + b;
  return doubled >= 0 ? doubled / (2 * b) : -((-doubled + 2 * b - 1) / (2 * b));
}

bool grows_with_rows(const Op& op) {
  switch (op.kind()) {
    case OpKind::embedding:
    case OpKind::rms_norm:
    case OpKind::matmul:
    case OpKind::rope_append:
    case OpKind::silu_mul:
    case OpKind::sample:
    case OpKind::all_reduce:
    case OpKind::moe_route: return true;
    default: return false;
  }
}

bool same_work(const OpWork& a, const OpWork& b) {
  return a.hbm_bytes == b.hbm_bytes && a.l2_bytes == b.l2_bytes && a.flops == b.flops && a.units == b.units;
}

}  // namespace

StepCosts::StepCosts(const ServingConfig& config, std::shared_ptr<const Pricer> pricer)
    : exact_(config, std::move(pricer)),
      overhead_(ps_from_seconds(config.step_overhead_s)),
      always_exact_(config.exact_steps),
      knots_(knots_up_to(config.context_limit())),
      rows_(static_cast<std::size_t>(config.max_num_seqs) + 1) {
  const std::vector<std::int64_t>& windows = config.decode.llm.layer_sliding_window;
  for (int layer = 0; layer < config.decode.llm.num_layers; ++layer) {
    const auto window_of = [&](int l) { return windows.empty() ? 0 : windows[static_cast<std::size_t>(l)]; };
    const auto same = [&](const WindowedLayers& known) { return window_of(known.layer) == window_of(layer); };
    const auto found = std::find_if(prefill_layers_.begin(), prefill_layers_.end(), same);
    if (found != prefill_layers_.end()) {
      ++found->count;
    } else {
      prefill_layers_.push_back({layer, 1});
    }
  }
  DecodeConfig one = config.decode;
  launch_as_on(exact_.pricer().profile(), one);
  one.batch = 1;
  one.context = 1;
  rows_[0].ops = row_ops(build_prefill(one, 1, 0));
}

std::vector<StepCosts::RowOp> StepCosts::row_ops(const StepGraph& graph) const {
  const Pricer& pricer = exact_.pricer();
  const GpuSpec& spec = pricer.profile().spec;
  std::vector<RowOp> ops;
  std::vector<OpWork> works;
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
    const Op& op = graph.op(v);
    if (!grows_with_rows(op)) continue;
    const OpWork work = work_of(op, spec);
    std::size_t i = 0;
    while (i < ops.size() && !(std::string_view(ops[i].op.name) == op.name && same_work(works[i], work))) ++i;
    if (i == ops.size()) {
      ops.push_back({.op = op, .count = 0, .latency_s = pricer.price(op).latency_s()});
      works.push_back(work);
    }
    ++ops[i].count;
  }
  return ops;
}

StepCosts::Row& StepCosts::row(std::int64_t decodes) {
  Row& row = rows_[static_cast<std::size_t>(decodes)];
  if (row.value.empty()) {
    row.value.assign(knots_.size(), kUnknown);
    row.slope.assign(knots_.size(), kUnknown);
    row.ops = row_ops(exact_.decode_graph(decodes, knots_.back()));
  }
  return row;
}

void StepCosts::simulate_knot(Row& row, std::int64_t decodes, std::size_t knot) {
  if (row.value[knot] == kUnknown) row.value[knot] = exact({.decodes = decodes, .context_sum = decodes * knots_[knot]});
}

void StepCosts::prepare(Row& row, std::int64_t decodes, std::size_t knot) {
  if (row.slope[knot] != kUnknown) return;
  simulate_knot(row, decodes, knot);
  if (knots_.size() == 1) {
    row.slope[knot] = 0;
    return;
  }
  // Beyond the last knot the line before it goes on.
  const std::size_t from = std::min(knot, knots_.size() - 2);
  simulate_knot(row, decodes, from);
  simulate_knot(row, decodes, from + 1);
  row.slope[knot] = divide_rounded(row.value[from + 1] - row.value[from], decodes * (knots_[from + 1] - knots_[from]));
}

std::size_t StepCosts::knot_before(std::int64_t decodes, std::int64_t context_sum) const {
  const auto after = std::upper_bound(knots_.begin() + 1, knots_.end(), context_sum / decodes);
  return static_cast<std::size_t>(after - knots_.begin()) - 1;
}

TimePs StepCosts::prefill_extra(const std::vector<RowOp>& ops, const StepShape& shape, std::int64_t rows_there) {
  const Pricer& pricer = exact_.pricer();
  double seconds = 0;
  for (const RowOp& row : ops) {
    const Op grown = with_prefill_rows(row.op, exact_.config(), shape.prefill_tokens - rows_there,
                                       shape.prefill_chunks - rows_there);
    seconds += row.count * (pricer.price(grown).latency_s() - (rows_there == 0 ? row.latency_s : 0.0));
  }
  const double gap_s = pricer.profile().graph_node_s;
  for (const WindowedLayers& layers : prefill_layers_) {
    const Op op{.shape = prefill_attention_of(exact_.config(), layers.layer, shape), .layer = layers.layer};
    seconds += layers.count * (pricer.price(op).latency_s() + gap_s);
  }
  return ps_from_seconds(std::max(0.0, seconds));
}

TimePs StepCosts::step(const StepShape& shape) {
  if (always_exact_) return exact(shape);
  if (shape.decodes == 0) {
    // A step without decoding: every operation and the gap before it, but none before the first.
    const GpuProfile& gpu = exact_.pricer().profile();
    double gaps = -1;
    for (const RowOp& op : rows_[0].ops) gaps += op.count;
    return prefill_extra(rows_[0].ops, shape, 1) + ps_from_seconds(gpu.graph_launch_s + gaps * gpu.graph_node_s) +
           overhead_;
  }
  const TimePs decode = decode_run(shape.decodes, shape.context_sum, 1);
  return shape.prefill_chunks == 0 ? decode : decode + prefill_extra(row(shape.decodes).ops, shape, 0);
}

TimePs StepCosts::decode_run(std::int64_t decodes, std::int64_t context_sum, std::int64_t steps) {
  if (always_exact_) {
    TimePs total = 0;
    for (std::int64_t i = 0; i < steps; ++i) {
      total += exact({.decodes = decodes, .context_sum = context_sum + i * decodes});
    }
    return total;
  }
  Row& costs = row(decodes);
  TimePs total = 0;
  for (std::size_t knot = knot_before(decodes, context_sum); steps > 0; ++knot) {
    prepare(costs, decodes, knot);
    // Steps before the next knot; beyond the last one the line goes on.
    std::int64_t here = steps;
    if (knot + 1 < knots_.size()) {
      const std::int64_t room = decodes * knots_[knot + 1] - context_sum;
      here = std::min(steps, (room + decodes - 1) / decodes);
    }
    const TimePs first = costs.value[knot] + costs.slope[knot] * (context_sum - decodes * knots_[knot]);
    total += here * first + costs.slope[knot] * decodes * (here * (here - 1) / 2);
    context_sum += here * decodes;
    steps -= here;
  }
  return total;
}

std::int64_t StepCosts::decode_steps_until(std::int64_t decodes, std::int64_t context_sum, std::int64_t max_steps,
                                           TimePs time) {
  std::int64_t low = 1;
  std::int64_t high = max_steps;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (decode_run(decodes, context_sum, middle) >= time) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

}  // namespace retrosim
