#include <algorithm>
#include <boost/tokenizer.hpp>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <optional>

#include "model/error.h"
#include "reports/line_chart.h"

namespace retrosim {
namespace {

class ChartTable {
 public:
  explicit ChartTable(const ChartRequest& request) : request_(request), stream_(request.table) {
    if (!stream_ || !next()) throw InputError(request.table, "", "", "a readable CSV file with a header line");
    header_ = cells_;
    const std::size_t slash = request.y.find('/');
    y_ = column(request.y.substr(0, slash));
    if (slash != std::string::npos) divisor_ = column(request.y.substr(slash + 1));
    x_ = column(request.x);
    for (const std::string& name : request.by) by_.push_back(column(name));
    for (const std::string& text : request.where) where_.push_back(condition(text, "--where"));
  }

  LineChart read() {
    while (next()) {
      if (cells_.size() != header_.size()) {
        throw InputError(request_.table + ":" + std::to_string(line_), "columns", std::to_string(cells_.size()),
                         std::to_string(header_.size()));
      }
      add_row();
    }
    LineChart chart{.title = request_.title,
                    .x_label = request_.x,
                    .y_label = request_.y,
                    .log_x = request_.log_x,
                    .log_y = request_.log_y,
                    .series = {}};
    if (!request_.relative_to.empty()) make_relative(chart);
    for (const std::string& key : order_) {
      ChartSeries series{.name = name_of(values_[key]), .x = {}, .y = {}};
      for (const auto& [x, y] : lines_[key]) {
        series.x.push_back(x);
        series.y.push_back(y);
      }
      if (!series.x.empty()) chart.series.push_back(std::move(series));
    }
    return chart;
  }

 private:
  struct Condition {
    std::size_t column = 0;
    std::string value;
  };

  bool next() {
    std::string line;
    if (!std::getline(stream_, line)) return false;
    ++line_;
    if (line.ends_with('\r')) line.pop_back();
    const boost::escaped_list_separator<char> quoted(std::string(), ",", "\"");
    const boost::tokenizer<boost::escaped_list_separator<char>> tokens(line, quoted);
    cells_.assign(tokens.begin(), tokens.end());
    return true;
  }

  std::size_t column(const std::string& name) const {
    const auto found = std::find(header_.begin(), header_.end(), name);
    if (found == header_.end()) throw InputError(request_.table, "column " + name, "nothing", "a column of this name");
    return static_cast<std::size_t>(found - header_.begin());
  }

  Condition condition(const std::string& text, const char* flag) const {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) throw InputError("", flag, text, "COLUMN=VALUE");
    return {column(text.substr(0, equals)), text.substr(equals + 1)};
  }

  std::optional<double> number(std::size_t index) const {
    const std::string& cell = cells_[index];
    double value = 0;
    const auto [end, code] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (code != std::errc{} || end != cell.data() + cell.size() || !std::isfinite(value)) return std::nullopt;
    return value;
  }

  void add_row() {
    for (const Condition& condition : where_) {
      if (cells_[condition.column] != condition.value) return;
    }
    const std::optional<double> x = number(x_);
    std::optional<double> y = number(y_);
    if (y && divisor_) {
      const std::optional<double> by = number(*divisor_);
      y = by && *by != 0 ? std::optional(*y / *by) : std::nullopt;
    }
    if (!x || !y) return;
    std::string key;
    std::vector<std::string> values;
    for (const std::size_t index : by_) {
      values.push_back(cells_[index]);
      key += cells_[index] + "\n";
    }
    if (!lines_.contains(key)) {
      order_.push_back(key);
      values_[key] = values;
    }
    lines_[key][*x] = *y;
  }

  std::string name_of(const std::vector<std::string>& values) const {
    std::string name;
    for (std::size_t i = 0; i < values.size(); ++i) {
      name += (i == 0 ? "" : ", ") + request_.by[i] + " " + values[i];
    }
    return name.empty() ? request_.y : name;
  }

  /// Every line over the one that differs in the given column alone and has the given value there.
  void make_relative(LineChart& chart) {
    const Condition base = condition(request_.relative_to, "--relative-to");
    const auto place = std::find(by_.begin(), by_.end(), base.column);
    if (place == by_.end()) throw InputError("", "--relative-to", request_.relative_to, "a column that --by names");
    std::map<std::string, std::map<double, double>> relative;
    for (const std::string& key : order_) {
      std::vector<std::string> values = values_[key];
      values[static_cast<std::size_t>(place - by_.begin())] = base.value;
      std::string base_key;
      for (const std::string& value : values) base_key += value + "\n";
      for (const auto& [x, y] : lines_[key]) {
        const auto there = lines_[base_key].find(x);
        if (there != lines_[base_key].end() && there->second != 0) relative[key][x] = y / there->second;
      }
    }
    lines_ = std::move(relative);
    chart.y_label += " relative to " + request_.relative_to;
  }

  const ChartRequest& request_;
  std::ifstream stream_;
  std::size_t line_ = 0;
  std::vector<std::string> header_;
  std::vector<std::string> cells_;
  std::size_t x_ = 0;
  std::size_t y_ = 0;
  std::optional<std::size_t> divisor_;
  std::vector<std::size_t> by_;
  std::vector<Condition> where_;
  std::vector<std::string> order_;  // keys of the lines, as they first appear
  std::map<std::string, std::vector<std::string>> values_;
  std::map<std::string, std::map<double, double>> lines_;
};

}  // namespace

LineChart chart_of_table(const ChartRequest& request) { return ChartTable(request).read(); }

}  // namespace retrosim
