#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/core/check.h"
#include "engine/report/charts.h"

namespace retort {
namespace {

constexpr double kWidth = 400, kLeft = 52, kRight = 16, kPlot = 190, kBottom = 40;

/// Names under the title, each behind a piece of its line, in as many rows as they need. Returns where they end.
double draw_legend(Svg& svg, const std::vector<Series>& series) {
  double x = 12, y = 40;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const double width = 30 + 7 * static_cast<double>(series[i].name.size());
    if (x > 12 && x + width > kWidth) {
      x = 12;
      y += 16;
    }
    svg.line({x, y - 4}, {x + 14, y - 4}, text("s", i % kSeriesColours));
    svg.text({x + 18, y}, series[i].name, "ink");
    x += width;
  }
  return y;
}

}  // namespace

Range robust_range(std::vector<double> values) {
  constexpr double kOutside = 0.05, kMargin = 1.0;
  constexpr std::size_t kFewest = 8;
  if (values.empty()) return {INFINITY, -INFINITY};
  std::ranges::sort(values);
  const std::size_t n = values.size();
  Range range{values.front(), values.back()};
  if (n < kFewest) return range;
  const auto cut = std::max<std::size_t>(1, static_cast<std::size_t>(kOutside * static_cast<double>(n)));
  const double low = values[cut], high = values[n - 1 - cut], span = high - low;
  if (span <= 0) return range;
  if (range.high > high + kMargin * span) range.high = high + kMargin * span / 4;
  if (range.low < low - kMargin * span) range.low = low - kMargin * span / 4;
  return range;
}

Plotted plotted(std::vector<Series> all) {
  Plotted plot{.series = std::move(all), .x = {INFINITY, -INFINITY}, .heights = {}};
  for (Series& one : plot.series) {
    std::erase_if(one.points, [](const Point& p) { return !std::isfinite(p.x) || !std::isfinite(p.y); });
    for (const Point& p : one.points) {
      plot.x = {std::min(plot.x.low, p.x), std::max(plot.x.high, p.x)};
      plot.heights.push_back(p.y);
    }
  }
  return plot;
}

std::string line_chart(const std::string& title, const std::string& x_name, const std::vector<Series>& all,
                       std::optional<double> mark, const std::string& mark_name) {
  const Plotted plot = plotted(all);
  const std::vector<Series>& series = plot.series;
  const std::vector<double>& heights = plot.heights;
  const double x_low = plot.x.low, x_high = plot.x.high;
  const auto [y_low, y_high] = robust_range(heights);
  std::vector<double> x_ticks = ticks(x_low, x_high, 6), y_ticks = ticks(y_low, y_high, 5);
  // Epochs are whole: no tick between two of them, none beyond the data.
  std::erase_if(x_ticks, [&](double x) { return x != std::round(x) || x < x_low || x > x_high; });
  const double x_range = x_high > x_low ? x_high - x_low : 1, y_range = y_ticks.back() - y_ticks.front();

  Svg probe(kWidth, 0, "");
  const double top = draw_legend(probe, series) + 14;
  const std::int64_t beyond =
      std::ranges::count_if(heights, [&](double y) { return y < y_ticks.front() || y > y_ticks.back(); });
  Svg svg(kWidth, top + kPlot + kBottom, title);
  draw_legend(svg, series);
  const auto place = [&](const Point& p) {
    const double x = x_high > x_low ? (p.x - x_low) / x_range : 0.5;
    const double y = std::clamp((p.y - y_ticks.front()) / y_range, 0.0, 1.0);
    return Point{kLeft + x * (kWidth - kLeft - kRight), top + kPlot * (1 - y)};
  };
  for (const double y : y_ticks) {
    const double at = place({0, y}).y;
    svg.line({kLeft, at}, {kWidth - kRight, at}, "grid");
    svg.text({kLeft - 6, at + 4}, number(y), "dim", Anchor::end, 11);
  }
  for (const double x : x_ticks) svg.text({place({x, 0}).x, top + kPlot + 16}, number(x), "dim", Anchor::middle, 11);
  svg.text(
      {(kLeft + kWidth - kRight) / 2, top + kPlot + 32},
      beyond > 0 ? text(x_name, "; ", beyond, beyond == 1 ? " point lies" : " points lie", " beyond the axis") : x_name,
      "dim", Anchor::middle, 11);
  if (mark && *mark >= x_low && *mark <= x_high) {
    const double x = place({*mark, 0}).x;
    const bool right_half = x > kWidth / 2;
    svg.line({x, top}, {x, top + kPlot}, "mark");
    svg.text({right_half ? x - 4 : x + 4, top + 10}, mark_name, "dim", right_half ? Anchor::end : Anchor::start, 11);
  }
  for (std::size_t i = 0; i < series.size(); ++i) {
    std::vector<Point> points;
    for (const Point& p : series[i].points) points.push_back(place(p));
    if (points.size() == 1)
      svg.circle(points.front(), 3.5, text("f", i % kSeriesColours));
    else if (!points.empty())
      svg.polyline(points, text("s", i % kSeriesColours));
  }
  return svg.str();
}

}  // namespace retort
