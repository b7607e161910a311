#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/core/check.h"
#include "engine/report/charts.h"

namespace retort {
namespace {

constexpr int kLabel = 9;  // columns of the numbers on the left

std::string padded(const std::string& label) {
  const std::string cut = label.substr(0, kLabel - 2);
  return std::string(static_cast<std::size_t>(kLabel - 2) - cut.size(), ' ') + cut + " ";
}

/// Which series is seen in each cell; -1: none. Later series lie on top.
class Cells {
 public:
  Cells(int width, int height)
      : width_(width), height_(height), series_(static_cast<std::size_t>(width) * height, -1) {}
  void set(int x, int y, int series) {
    series_[static_cast<std::size_t>(std::clamp(y, 0, height_ - 1)) * width_ + std::clamp(x, 0, width_ - 1)] = series;
  }
  int at(int x, int y) const { return series_[static_cast<std::size_t>(y) * width_ + x]; }
  /// One cell a column, at the height of the straight line.
  void join(Point from, Point to, int series) {
    const int first = static_cast<int>(std::lround(from.x)), last = static_cast<int>(std::lround(to.x));
    for (int x = first; x <= last; ++x) {
      const double share = last > first ? static_cast<double>(x - first) / (last - first) : 1;
      set(x, static_cast<int>(std::lround(from.y + share * (to.y - from.y))), series);
    }
  }

 private:
  int width_, height_;
  std::vector<int> series_;
};

}  // namespace

std::string character_chart(const std::string& title, const std::string& x_name, const std::vector<Series>& all,
                            int width, int height, const std::function<std::string(std::size_t)>& mark) {
  const Plotted plot = plotted(all);
  const std::vector<Series>& series = plot.series;
  const std::vector<double>& heights = plot.heights;
  const double x_low = plot.x.low, x_high = plot.x.high;
  std::string chart = title + "\n";
  if (heights.empty()) return chart + padded("") + "nothing yet\n";
  auto [y_low, y_high] = robust_range(heights);
  if (y_high <= y_low) {  // a flat line lies in the middle
    const double margin = y_low == 0 ? 1 : std::abs(y_low) / 10;
    y_low -= margin;
    y_high += margin;
  }
  width = std::max(width, kLabel + 10);
  const int columns = width - kLabel;
  Cells cells(columns, height);
  const auto place = [&, low = y_low, high = y_high](const Point& p) {
    const double x = x_high > x_low ? (p.x - x_low) / (x_high - x_low) : 0;
    const double y = std::clamp((p.y - low) / (high - low), 0.0, 1.0);
    return Point{x * (columns - 1), (1 - y) * (height - 1)};
  };
  for (std::size_t s = 0; s < series.size(); ++s) {
    const std::vector<Point>& points = series[s].points;
    for (std::size_t i = 0; i < points.size(); ++i)
      cells.join(place(points[i > 0 ? i - 1 : 0]), place(points[i]), static_cast<int>(s));
  }
  for (int y = 0; y < height; ++y) {
    const bool labelled = y == 0 || y == height - 1 || y == (height - 1) / 2;
    const double value = y_high - (y_high - y_low) * y / std::max(1, height - 1);
    std::string line = padded(labelled ? number(value, 3) : "") + "|";
    std::size_t blanks = 0;
    for (int x = 0; x < columns; ++x) {
      const int shown = cells.at(x, y);
      if (shown < 0) {
        ++blanks;
        continue;
      }
      line += std::string(std::exchange(blanks, 0), ' ') + mark(static_cast<std::size_t>(shown));
    }
    chart += line + "\n";
  }
  const std::string first = number(x_low), last = number(x_high);
  const auto gap = static_cast<int>(columns - first.size() - last.size() - x_name.size());
  chart += padded("") + "+" + std::string(static_cast<std::size_t>(columns), '-') + "\n" + padded("") + " " + first;
  chart += std::string(static_cast<std::size_t>(std::max(1, gap / 2)), ' ') + x_name;
  return chart + std::string(static_cast<std::size_t>(std::max(1, gap - gap / 2)), ' ') + last + "\n";
}

}  // namespace retort
