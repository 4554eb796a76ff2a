#include "reports/line_chart.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "model/error.h"
#include "reports/format.h"

namespace retrosim {
namespace {

constexpr double kWidth = 760;
constexpr double kHeight = 400;
constexpr double kLeft = 70;
constexpr double kRight = 220;  // the legend
constexpr double kTop = 40;
constexpr double kBottom = 50;
// Okabe and Ito's colours, told apart by readers who do not see all colours.
constexpr std::array kColours{"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"};

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '<') {
      result += "&lt;";
    } else if (c == '&') {
      result += "&amp;";
    } else {
      result += c;
    }
  }
  return result;
}

std::string short_number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4g", value);
  return text.data();
}

/// One direction: values to pixels, and where its ticks are.
struct Axis {
  bool logarithmic = false;
  double low = 0;
  double high = 1;
  double from = 0;  // pixel of low
  double to = 1;    // pixel of high

  double scaled(double value) const { return logarithmic ? std::log2(value) : value; }
  double pixel(double value) const {
    return from + (scaled(value) - scaled(low)) / (scaled(high) - scaled(low)) * (to - from);
  }
  std::vector<double> ticks() const {
    std::vector<double> values;
    if (logarithmic) {
      const double octaves = std::log2(high / low);
      const double step = std::max(1.0, std::ceil(octaves / 10));
      for (double at = std::ceil(std::log2(low) - 1e-9); at <= std::log2(high) + 1e-9; at += step) {
        values.push_back(std::exp2(at));
      }
      return values;
    }
    const double rough = (high - low) / 6;
    const double decade = std::pow(10, std::floor(std::log10(rough)));
    const double step = rough / decade < 1.5 ? decade : rough / decade < 3.5 ? 2 * decade : 5 * decade;
    for (double at = std::ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) values.push_back(at);
    return values;
  }
};

Axis axis_over(const LineChart& chart, bool horizontal) {
  Axis axis{.logarithmic = horizontal ? chart.log_x : chart.log_y, .low = HUGE_VAL, .high = -HUGE_VAL};
  for (const ChartSeries& series : chart.series) {
    for (const double value : horizontal ? series.x : series.y) {
      if (!std::isfinite(value) || (axis.logarithmic && value <= 0)) {
        throw InputError("", horizontal ? chart.x_label : chart.y_label, short_number(value),
                         axis.logarithmic ? "numbers above 0 on a logarithmic axis" : "finite numbers");
      }
      axis.low = std::min(axis.low, value);
      axis.high = std::max(axis.high, value);
    }
  }
  if (!(axis.low <= axis.high)) throw InputError("", "chart", "no points", "rows with numbers in both columns");
  if (!horizontal && !axis.logarithmic) {
    // A little air, and zero where it is near.
    if (axis.low > 0 && axis.low < 0.5 * axis.high) axis.low = 0;
    axis.high += (axis.high - axis.low) * 0.05;
  }
  if (axis.low == axis.high) axis.high = axis.low + (axis.low == 0 ? 1 : std::abs(axis.low) * 0.1);
  axis.from = horizontal ? kLeft : kHeight - kBottom;
  axis.to = horizontal ? kWidth - kRight : kTop;
  return axis;
}

std::string text_at(double x, double y, const std::string& text, const char* anchor, const char* extra = "") {
  return "<text x=\"" + fixed(x, 1) + "\" y=\"" + fixed(y, 1) + "\" text-anchor=\"" + anchor + "\" " + extra + ">" +
         escaped(text) + "</text>\n";
}

std::string line_at(double x1, double y1, double x2, double y2, const std::string& style) {
  return "<line x1=\"" + fixed(x1, 1) + "\" y1=\"" + fixed(y1, 1) + "\" x2=\"" + fixed(x2, 1) + "\" y2=\"" +
         fixed(y2, 1) + "\" " + style + "/>\n";
}

std::string drawn(const ChartSeries& series, const Axis& x, const Axis& y, std::size_t index) {
  const std::string colour = kColours[index % kColours.size()];
  const char* dash = index >= kColours.size() ? " stroke-dasharray=\"5 3\"" : "";
  std::string points;
  std::string marks;
  for (std::size_t i = 0; i < series.x.size(); ++i) {
    const std::string px = fixed(x.pixel(series.x[i]), 1);
    const std::string py = fixed(y.pixel(series.y[i]), 1);
    points += (i == 0 ? "" : " ") + px + "," + py;
    marks += "<circle cx=\"" + px + "\" cy=\"" + py + "\" r=\"2.5\" fill=\"" + colour + "\"><title>" +
             escaped(series.name) + ": " + short_number(series.x[i]) + ", " + short_number(series.y[i]) +
             "</title></circle>\n";
  }
  const double row = kTop + 8 + 18 * static_cast<double>(index);
  const double at = kWidth - kRight + 14;
  return "<polyline fill=\"none\" stroke=\"" + colour + "\" stroke-width=\"1.8\"" + dash + " points=\"" + points +
         "\"/>\n" + marks + line_at(at, row, at + 22, row, "stroke=\"" + colour + "\" stroke-width=\"2\"" + dash) +
         text_at(at + 28, row + 4, series.name, "start");
}

}  // namespace

std::string to_svg(const LineChart& chart) {
  const Axis x = axis_over(chart, true);
  const Axis y = axis_over(chart, false);
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + fixed(kWidth, 0) + " " +
                    fixed(kHeight, 0) +
                    "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" "
                    "fill=\"white\"/>\n";
  svg += text_at(kLeft, 22, chart.title, "start", "font-size=\"14\" font-weight=\"bold\"");
  for (const double tick : x.ticks()) {
    svg += line_at(x.pixel(tick), kTop, x.pixel(tick), kHeight - kBottom, "stroke=\"#e4e4e4\"");
    svg += text_at(x.pixel(tick), kHeight - kBottom + 16, short_number(tick), "middle");
  }
  for (const double tick : y.ticks()) {
    svg += line_at(kLeft, y.pixel(tick), kWidth - kRight, y.pixel(tick), "stroke=\"#e4e4e4\"");
    svg += text_at(kLeft - 6, y.pixel(tick) + 4, short_number(tick), "end");
  }
  svg += line_at(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "stroke=\"black\"");
  svg += line_at(kLeft, kTop, kLeft, kHeight - kBottom, "stroke=\"black\"");
  svg += text_at((kLeft + kWidth - kRight) / 2, kHeight - 12, chart.x_label, "middle");
  svg += text_at(0, 0, chart.y_label, "middle",
                 ("transform=\"translate(16 " + fixed((kTop + kHeight - kBottom) / 2, 0) + ") rotate(-90)\"").c_str());
  for (std::size_t i = 0; i < chart.series.size(); ++i) svg += drawn(chart.series[i], x, y, i);
  return svg + "</svg>\n";
}

}  // namespace retrosim
