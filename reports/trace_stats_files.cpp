#include <filesystem>
#include <system_error>

#include "model/error.h"
#include "reports/html_page.h"
#include "reports/line_chart.h"
#include "reports/output_file.h"
#include "reports/trace_stats.h"

namespace retrosim {
namespace {

struct NamedChart {
  std::string name;
  LineChart chart;
};

ChartSeries series_of(const std::string& name, const std::vector<Estimate>& estimates, double first_x) {
  ChartSeries series{.name = name, .x = {}, .y = {}};
  for (std::size_t i = 0; i < estimates.size(); ++i) {
    series.x.push_back(first_x + static_cast<double>(i));
    series.y.push_back(estimates[i].value);
  }
  return series;
}

std::vector<NamedChart> charts_of(const TraceStatsAnswer& answer) {
  const TraceStatistics& statistics = answer.statistics;
  const std::vector<int>& windows = answer.request.windows;
  std::vector<NamedChart> charts;
  if (!statistics.overall.overlap_by_lag.empty()) {
    LineChart chart{.title = "Selection overlap by lag",
                    .x_label = "lag, steps",
                    .y_label = "share of pages selected then as well",
                    .log_x = true,
                    .log_y = false,
                    .series = {series_of("all layers", statistics.overall.overlap_by_lag, 1)}};
    for (std::size_t i = 0; i < statistics.layers.size() && statistics.layers.size() <= 8; ++i) {
      chart.series.push_back(
          series_of("layer " + std::to_string(statistics.layers[i]), statistics.per_layer[i].overlap_by_lag, 1));
    }
    charts.push_back({"overlap-by-lag", chart});
  }
  if (!statistics.overall.new_pages.empty()) {
    charts.push_back({"later-steps",
                      {.title = "New pages of the n-th later step, relative to k",
                       .x_label = "later step n",
                       .y_label = "|U_n| / k",
                       .log_x = false,
                       .log_y = false,
                       .series = {series_of("new pages", statistics.overall.new_pages, 1)}}});
  }
  if (answer.budgets.size() > 1) {
    LineChart chart{.title = "Attention mass recalled by budget",
                    .x_label = "budget, share of pages",
                    .y_label = "attention mass",
                    .log_x = true,
                    .log_y = false,
                    .series = {}};
    for (std::size_t w = 0; w <= windows.size(); ++w) {
      const bool oracle = w == windows.size();
      ChartSeries series{.name = oracle            ? "oracle"
                                 : windows[w] == 1 ? "quest"
                                                   : "retro w=" + std::to_string(windows[w]),
                         .x = {},
                         .y = {}};
      for (const BudgetPoint& point : answer.budgets) {
        series.x.push_back(point.budget);
        series.y.push_back(oracle ? point.oracle_recall.value : point.mass_recall[w].value);
      }
      chart.series.push_back(std::move(series));
    }
    charts.push_back({"recall-by-budget", chart});
  }
  return charts;
}

}  // namespace

void require_trace_stats_folder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw InputError("", "--out", folder, "a folder that can be made: " + error.message());
  require_writable(std::filesystem::path(folder) / "index.html", "--out");
}

void write_trace_stats_files(const TraceStatsAnswer& answer, const std::string& folder) {
  const std::filesystem::path into = folder;
  const std::string text = trace_stats_text(answer);
  write_output_file(into / "trace-stats.json", json_text(trace_stats_document(answer)));
  write_output_file(into / "trace-stats.txt", text);
  std::string page =
      "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Trace statistics</title>\n<h1>" +
      escape_html(answer.request.file) + "</h1>\n";
  for (const NamedChart& chart : charts_of(answer)) {
    write_output_file(into / (chart.name + ".svg"), to_svg(chart.chart));
    page += "<p><img src=\"" + chart.name + ".svg\" alt=\"" + escape_html(chart.chart.title) + "\"></p>\n";
  }
  write_output_file(into / "index.html", page + "<pre>" + escape_html(text) + "</pre>\n</html>\n");
}

}  // namespace retrosim
