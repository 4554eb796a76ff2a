// The Markdown page of `retrosim validate`.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "reports/live_report.h"
#include "reports/table.h"

namespace retrosim {
namespace {

std::string number(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}
std::string percent(double fraction, int digits = 1) { return number(100 * fraction, digits) + " %"; }
std::string signed_percent(double fraction) { return (fraction >= 0 ? "+" : "") + percent(fraction); }

void add_errors(Table& table, const std::string& name, const ErrorSummary& errors) {
  if (errors.rows == 0) return;
  table.add({name, std::to_string(errors.rows), percent(errors.mape), percent(errors.median_abs_error),
             signed_percent(errors.bias), percent(errors.p95_abs_error), percent(errors.worst_abs_error)});
}

Table error_table(const std::string& what) {
  return Table({what, "rows", "MAPE", "median", "bias", "95th percentile", "worst"});
}

std::string named_table(const std::string& what, const std::vector<NamedErrors>& all) {
  Table table = error_table(what);
  for (const NamedErrors& named : all) add_errors(table, named.name, named.errors);
  return table.to_markdown();
}

std::string row_table(const LiveValidation& v, std::size_t count) {
  Table table({"model", "layers", "policy", "w", "batch", "context", "budget", "page", "KV", "measured us",
               "predicted us", "error", "roofline"},
              3);
  for (std::size_t i = 0; i < std::min(count, v.rows.size()); ++i) {
    const LiveComparison& row = v.rows[i];
    const LiveConfig& c = row.result.config;
    table.add({c.llm, std::to_string(c.layers), c.policy, std::to_string(c.window), std::to_string(c.batch),
               std::to_string(c.context), number(c.budget, 3), std::to_string(c.page_size),
               std::string(name_of(c.kv_dtype)), number(row.measured_us, 1), number(row.predicted.step_us, 1),
               signed_percent(row.error), signed_percent(row.roofline_error)});
  }
  return table.to_markdown();
}

std::string overhead_table(const LiveValidation& v) {
  Table table({"batch", "context", "w", "batch * w", "step at w = 1, us", "live, us", "simulated, us", "live, share",
               "HBM traffic", "KV read"},
              0);
  for (const OverheadPoint& p : v.overhead) {
    if (p.config.group != "overhead") continue;
    table.add({std::to_string(p.config.batch), std::to_string(p.config.context), std::to_string(p.config.window),
               number(p.rows, 0), number(p.measured_us, 1), number(p.measured_over_us, 1),
               number(p.predicted_over_us, 1), signed_percent(p.measured_over_us / p.measured_us),
               signed_percent(p.traffic_over), signed_percent(p.kv_over)});
  }
  return table.to_markdown();
}

/// The paper's claims about what a window costs, by the live runs of group "overhead".
std::string claims(const LiveValidation& v) {
  constexpr double kSparseLayers = 30;  // of Llama-3.1-8B's 32 under two dense ones
  Table table(
      {"batch", "context", "w", "live, ms per token of the whole model", "simulated, ms", "attention FLOP/byte"}, 0);
  std::string regime;
  for (const OverheadPoint& p : v.overhead) {
    if (p.config.group != "overhead") continue;
    const double measured_layers = p.config.layers - p.config.dense_layers;
    const double scale = kSparseLayers / measured_layers * 1e-3;
    table.add({std::to_string(p.config.batch), std::to_string(p.config.context), std::to_string(p.config.window),
               number(scale * p.measured_over_us, 3), number(scale * p.predicted_over_us, 3),
               number(4.0 * p.config.window, 0)});
  }
  return "The overhead of the measured sparse layers, times 30 / "
         "their number: the paper claims less than 1 ms per token at w = 2 and "
         "about 2 ms at w = 8 (batch and GPU not stated), independent of the context. Its traffic claim is +1 to +3 %: "
         "column HBM traffic above counts the step's bytes, KV read those that the window does not touch. Attention's "
         "arithmetic intensity, were every row computed on every page, is w * Hq / Hk = 4 w FLOP/byte here; H100's "
         "ridge "
         "is about 320 on tensor cores, so by arithmetic attention stays memory-bound up to w = 64. The linear layers "
         "leave that regime first: their batch * w rows are in the table.\n\n" +
         table.to_markdown();
}

std::string group_table(const LiveValidation& v, const std::string& group) {
  Table table({"policy", "w", "batch", "context", "prefetch MB", "measured us", "predicted us", "error"}, 1);
  std::vector<const LiveComparison*> rows;
  for (const LiveComparison& row : v.rows) {
    if (row.result.config.group == group) rows.push_back(&row);
  }
  std::sort(rows.begin(), rows.end(), [](const auto* a, const auto* b) {
    return a->result.config.prefetch_bytes != b->result.config.prefetch_bytes
               ? a->result.config.prefetch_bytes < b->result.config.prefetch_bytes
               : a->result.config.id < b->result.config.id;
  });
  for (const LiveComparison* row : rows) {
    const LiveConfig& c = row->result.config;
    table.add({c.policy, std::to_string(c.window), std::to_string(c.batch), std::to_string(c.context),
               number(static_cast<double>(c.prefetch_bytes) * 1e-6, 0), number(row->measured_us, 1),
               number(row->predicted.step_us, 1), signed_percent(row->error)});
  }
  return rows.empty() ? "" : table.to_markdown();
}

std::string closed_loop_section(const LiveValidation& v) {
  Table table({"trace", "w", "budget", "context", "steps", "live, us", "simulated, us", "MAPE", "unseen live",
               "unseen simulated", "equal in every step"},
              1);
  double mape = 0;
  for (const ClosedLoop& loop : v.closed_loop) {
    mape += loop.mape / static_cast<double>(v.closed_loop.size());
    table.add({loop.trace, std::to_string(loop.config.window), number(loop.config.budget, 2),
               std::to_string(loop.config.context), std::to_string(loop.steps), number(loop.measured_us, 1),
               number(loop.predicted_us, 1), percent(loop.mape), std::to_string(loop.unseen_measured),
               std::to_string(loop.unseen_predicted), loop.same_unseen ? "yes" : "no"});
  }
  return "## Real weights: live runs against the simulation of their own traces\n\nSmolLM2-135M, mean error " +
         percent(mape) + ".\n\n" + table.to_markdown() + "\n";
}

}  // namespace

std::string live_validation_markdown(const LiveValidation& v) {
  std::string text = "# Simulated and live decode steps, " + v.gpu + "\n\n";
  text +=
      "Live: the step graph run by the CUDA kernels as CUDA graphs, random weights, selections that drift like a "
      "text's; the first layers of each model (column layers) and its LM head. Simulated: the same truncated model by "
      "profile " +
      v.profile +
      ", with the pages that the live run counted. The configurations are drawn with a seed of their own; "
      "none of their times went into the profile. Which terms the model lacked was learnt from an earlier run's "
      "residuals "
      "on the same configurations (blocks and warps of attention, early starts of few rows, copies in a batch); the "
      "terms' parameters are fitted to calibration samples alone. Errors are simulated / live - 1.\n\n";
  text += "## All grid configurations\n\n";
  Table table = error_table("");
  add_errors(table, "step", v.steps);
  add_errors(table, "step without matrix products", v.without_products);
  add_errors(table, "step by naive roofline (peak numbers)", v.roofline);
  text += table.to_markdown() + "\n";
  text += "RetroAttention over Quest, predicted within 15 % or 30 us of live: " + percent(v.overhead_within) +
          " of the grid's pairs.\n\n";
  text += named_table("group", v.by_group) + "\n" + named_table("window", v.by_window) + "\n";
  text +=
      "## By operation\n\nLive: a chain of the operation's launches over all layers, per launch. Simulated: its price "
      "and the "
      "gap after it.\n\n" +
      named_table("operation", v.by_op) + "\n";
  text += "## Worst first\n\n" + row_table(v, 30) + "\n";
  const std::string overhead = overhead_table(v);
  text += "## What a window costs over Quest\n\nLlama-3.1-8B, 8 layers (2 of them dense), budget 0.15.\n\n" + overhead +
          "\n" + claims(v) + "\n";
  const std::string policies = group_table(v, "policies");
  if (!policies.empty())
    text += "## Policies\n\nLlama-3.1-8B, 6 layers.\n\n" + policies + "\n" + named_table("policy", v.by_policy) + "\n";
  const std::string overlap = group_table(v, "overlap");
  if (!overlap.empty()) text += "## A copy from host memory beside the step\n\n" + overlap + "\n";
  if (!v.closed_loop.empty()) text += closed_loop_section(v);
  if (!v.failed.empty()) {
    text += "## Not run\n\n";
    for (std::size_t i = 0; i < v.failed.size(); ++i) text += "- " + v.failed[i].id + ": " + v.failures[i] + "\n";
  }
  return text;
}

}  // namespace retrosim
