// The Pareto chart of a comparison: step latency against recalled attention mass.
#include <algorithm>
#include <cmath>

#include "reports/format.h"
#include "reports/policy_comparison.h"

namespace retrosim {
namespace {

constexpr double kWidth = 900;
constexpr double kHeight = 560;
constexpr double kLeft = 70;
constexpr double kRight = 150;
constexpr double kTop = 40;
constexpr double kBottom = 50;

struct Scale {
  double low = 0;
  double high = 1;
  double begin = 0;  // pixels
  double end = 1;
  double operator()(double value) const { return begin + (value - low) / (high - low) * (end - begin); }
};

std::string text_at(double x, double y, const std::string& text, const char* anchor = "start") {
  return "<text x=\"" + fixed(x, 1) + "\" y=\"" + fixed(y, 1) + "\" text-anchor=\"" + anchor + "\">" + text +
         "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, const char* style) {
  return "<line x1=\"" + fixed(x1, 1) + "\" y1=\"" + fixed(y1, 1) + "\" x2=\"" + fixed(x2, 1) + "\" y2=\"" +
         fixed(y2, 1) + "\" " + style + "/>\n";
}

/// Points that no other beats in both latency and recall, by latency.
std::vector<const ComparisonPoint*> front_of(std::vector<const ComparisonPoint*> points) {
  std::ranges::sort(points, {}, [](const ComparisonPoint* point) { return point->step.latency_us_mean; });
  std::vector<const ComparisonPoint*> front;
  for (const ComparisonPoint* point : points) {
    if (front.empty() || *point->mass_recall > *front.back()->mass_recall) front.push_back(point);
  }
  return front;
}

}  // namespace

std::string comparison_svg(const PolicyComparison& comparison) {
  const std::int64_t context = std::ranges::max(comparison.request.contexts);
  const std::int64_t batch = comparison.request.batches.front();
  const int size = comparison.request.tensor_parallel_sizes.front();
  std::vector<const ComparisonPoint*> points;
  for (const ComparisonPoint& point : comparison.points) {
    const bool shown = point.refused.empty() && point.memory.fits() && point.mass_recall && point.context == context &&
                       point.batch == batch && point.tensor_parallel_size == size;
    if (shown) points.push_back(&point);
  }
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + fixed(kWidth, 0) + " " +
                    fixed(kHeight, 0) +
                    "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" "
                    "height=\"100%\" fill=\"white\"/>\n" +
                    text_at(kLeft, 22,
                            comparison.llm + " on " + comparison.gpu + ", context " + std::to_string(context) +
                                ", batch " + std::to_string(batch) + ": modelled latency, recall from the trace");
  if (points.empty()) return svg + text_at(kLeft, kTop + 20, "no point fits and has a recall") + "</svg>\n";
  Scale x{.low = 1e30, .high = 0, .begin = kLeft, .end = kWidth - kRight};
  Scale y{.low = 1, .high = 1, .begin = kHeight - kBottom, .end = kTop};
  for (const ComparisonPoint* point : points) {
    x.low = std::min(x.low, point->step.latency_us_mean / 1e3);
    x.high = std::max(x.high, point->step.latency_us_mean / 1e3);
    y.low = std::min(y.low, *point->mass_recall);
  }
  x.low *= 0.95;
  x.high *= 1.05;
  y.low = std::floor(y.low * 20 - 0.2) / 20;
  y.high = 1.01;
  for (int tick = 0; tick <= 5; ++tick) {
    const double at_x = x.low + (x.high - x.low) * tick / 5;
    const double at_y = y.low + (1 - y.low) * tick / 5;
    svg += line(x(at_x), y.begin, x(at_x), y.end, "stroke=\"#ddd\"") +
           text_at(x(at_x), y.begin + 18, fixed(at_x, 2), "middle");
    svg += line(x.begin, y(at_y), x.end, y(at_y), "stroke=\"#ddd\"") +
           text_at(x.begin - 8, y(at_y) + 4, fixed(at_y, 2), "end");
  }
  svg += text_at((x.begin + x.end) / 2, kHeight - 12, "step latency, ms", "middle") +
         text_at(kLeft, kTop - 6, "attention mass recalled");
  const std::vector<const ComparisonPoint*> front = front_of(points);
  for (std::size_t i = 1; i < front.size(); ++i) {
    svg += line(x(front[i - 1]->step.latency_us_mean / 1e3), y(*front[i - 1]->mass_recall),
                x(front[i]->step.latency_us_mean / 1e3), y(*front[i]->mass_recall), "stroke=\"#228833\"");
  }
  for (const ComparisonPoint* point : points) {
    const double at_x = x(point->step.latency_us_mean / 1e3);
    const double at_y = y(*point->mass_recall);
    svg += "<circle cx=\"" + fixed(at_x, 1) + "\" cy=\"" + fixed(at_y, 1) + "\" r=\"4\" stroke=\"#4477aa\" fill=\"" +
           (point->window > 1 ? "#4477aa" : "white") + "\"/>\n" +
           text_at(at_x + 7, at_y + (point->window > 1 ? -4 : 12),
                   point->policy + (point->window > 1 ? ", w " + std::to_string(point->window) : ""));
  }
  return svg + "</svg>\n";
}

}  // namespace retrosim
