// A line chart as SVG, from the columns of a table.
#pragma once

#include <string>
#include <vector>

namespace retrosim {

struct ChartSeries {
  std::string name;
  std::vector<double> x;
  std::vector<double> y;  // [x.size()]
};

struct LineChart {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_x = false;
  bool log_y = false;
  std::vector<ChartSeries> series;
};

/// A document that stands alone. Throws InputError when there is nothing to draw, for a value that is not finite, and
/// for one below or at zero on a logarithmic axis.
std::string to_svg(const LineChart& chart);

struct ChartRequest {
  std::string table;  // CSV with a header, e.g. of `retrosim sweep`
  std::string title;
  std::string x;                   // column
  std::string y;                   // column, or "A/B": the ratio of two
  std::vector<std::string> by;     // columns: one line per combination of their values
  std::vector<std::string> where;  // COLUMN=VALUE: rows that are used
  std::string relative_to;         // COLUMN=VALUE of one of `by`: y becomes the ratio to that line at the same x
  bool log_x = false;
  bool log_y = false;
};

/// Reads the table; rows without a number in x or y are left out. Throws InputError naming file, column and value.
LineChart chart_of_table(const ChartRequest& request);

}  // namespace retrosim
