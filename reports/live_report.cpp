#include "reports/live_report.h"

#include "reports/format.h"
#include "reports/html_page.h"
#include "reports/output_file.h"
#include "reports/study_html.h"

namespace retrosim {
namespace {

Json errors_json(const ErrorSummary& errors) {
  return {{"rows", errors.rows},
          {"mape", errors.mape},
          {"median_abs_error", errors.median_abs_error},
          {"bias", errors.bias},
          {"p95_abs_error", errors.p95_abs_error},
          {"worst_abs_error", errors.worst_abs_error}};
}

Json named_json(const std::vector<NamedErrors>& all) {
  Json out = Json::array();
  for (const NamedErrors& named : all) {
    Json row{{"name", named.name}};
    row.update(errors_json(named.errors));
    out.push_back(row);
  }
  return out;
}

Json ops_json(const LiveComparison& row) {
  Json ops = Json::array();
  for (const LiveOpTime& op : row.result.ops) {
    const auto predicted = row.predicted.op_us.find(op.name);
    if (predicted == row.predicted.op_us.end()) continue;
    ops.push_back({{"name", op.name}, {"measured_us", op.latency_us}, {"predicted_us", predicted->second}});
  }
  return ops;
}

Json row_json(const LiveComparison& row) {
  Json out = to_json(row.result.config);
  out["measured_us"] = row.measured_us;
  out["predicted_us"] = row.predicted.step_us;
  out["error"] = row.error;
  out["roofline_us"] = row.predicted.roofline_us;
  out["roofline_error"] = row.roofline_error;
  out["without_products_measured_us"] = row.rest_us;
  out["without_products_predicted_us"] = row.rest_us > 0 ? row.predicted.without_products_us : 0;
  out["hbm_bytes"] = row.predicted.hbm_bytes;
  out["kv_traffic_share"] = row.predicted.kv_traffic_share;
  out["overlap"] = row.result.overlap;
  out["ops"] = ops_json(row);
  return out;
}

Json overhead_json(const OverheadPoint& point) {
  return {{"id", point.config.id},
          {"llm", point.config.llm},
          {"window", point.config.window},
          {"batch", point.config.batch},
          {"context", point.config.context},
          {"rows", point.rows},
          {"measured_window_1_us", point.measured_us},
          {"measured_over_us", point.measured_over_us},
          {"predicted_over_us", point.predicted_over_us},
          {"hbm_traffic_over", point.traffic_over},
          {"kv_traffic_over", point.kv_over},
          {"within_15_percent_or_30_us", point.within}};
}

Json closed_loop_json(const std::vector<ClosedLoop>& loops) {
  Json out = Json::array();
  for (const ClosedLoop& loop : loops) {
    Json row = to_json(loop.config);
    row["trace"] = loop.trace;
    row["steps"] = loop.steps;
    row["measured_us"] = loop.measured_us;
    row["predicted_us"] = loop.predicted_us;
    row["mape"] = loop.mape;
    row["unseen_visits_measured"] = loop.unseen_measured;
    row["unseen_visits_predicted"] = loop.unseen_predicted;
    row["same_unseen_in_every_step"] = loop.same_unseen;
    out.push_back(row);
  }
  return out;
}

}  // namespace

Json live_validation_json(const LiveValidation& v) {
  Json rows = Json::array();
  for (const LiveComparison& row : v.rows) rows.push_back(row_json(row));
  Json overhead = Json::array();
  for (const OverheadPoint& point : v.overhead) overhead.push_back(overhead_json(point));
  Json failed = Json::array();
  for (std::size_t i = 0; i < v.failed.size(); ++i) {
    failed.push_back({{"id", v.failed[i].id}, {"reason", v.failures[i]}});
  }
  return {{"schema", "retrosim.validate_live/1"},
          {"gpu", v.gpu},
          {"profile", v.profile},
          {"steps", errors_json(v.steps)},
          {"roofline", errors_json(v.roofline)},
          {"without_products", errors_json(v.without_products)},
          {"retro_overhead_within", v.overhead_within},
          {"by_group", named_json(v.by_group)},
          {"by_window", named_json(v.by_window)},
          {"by_operation", named_json(v.by_op)},
          {"by_policy", named_json(v.by_policy)},
          {"overhead", overhead},
          {"closed_loop", closed_loop_json(v.closed_loop)},
          {"failed", failed},
          {"rows", rows}};
}

std::string live_validation_html(const LiveValidation& validation) {
  const std::string title = "Simulated and live decode steps, " + validation.gpu;
  return fill_placeholders(report_asset("validation"), {{"TITLE", escape_html(title)},
                                                        {"VERSION", RETROSIM_VERSION},
                                                        {"STYLE", report_asset("style")},
                                                        {"DATA", json_for_html(live_validation_json(validation))},
                                                        {"CHART_JS", report_asset("chart.min")},
                                                        {"SCRIPT", report_asset("validation_script")}});
}

void write_live_validation(const LiveValidation& validation, const std::filesystem::path& folder) {
  write_output_file(folder / "validation.json", json_text(live_validation_json(validation)));
  write_output_file(folder / "validation.md", live_validation_markdown(validation));
  write_output_file(folder / "validation.html", live_validation_html(validation));
}

}  // namespace retrosim
