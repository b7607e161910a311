// The charts of a report, each as SVG text. None of them knows where its numbers come from.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/distill/metrics.h"
#include "engine/report/svg.h"

namespace retort {

/// A matrix of numbers as shaded cells, the darkest the highest; NaN leaves a cell empty. values[row][column]. Throws
/// Error if the values do not fit the labels.
/// `contents` (one text a cell; empty: the number) and `marked` (row and column of a cell with a frame) are optional.
struct HeatMapNotes {
  std::vector<std::vector<std::string>> contents = {};
  std::optional<std::pair<std::size_t, std::size_t>> marked = {};
};
std::string heat_map(const std::string& title, const std::string& row_name, const std::vector<std::string>& row_labels,
                     const std::string& column_name, const std::vector<std::string>& column_labels,
                     const std::vector<std::vector<double>>& values, const HeatMapNotes& notes = {});

/// Counts by true (row) and predicted (column) class, each row shaded by its shares. Throws Error as heat_map does.
std::string confusion_matrix(const std::string& title, const std::vector<std::string>& classes,
                             const std::vector<std::vector<std::int64_t>>& counts);

struct Series {
  std::string name;
  std::vector<Point> points;  ///< in the order in which they are joined; those with a NaN are left out
};

struct Range {
  double low, high;
};
/// The values but for those far beyond the middle nine tenths; of no values an empty one.
Range robust_range(std::vector<double> values);

/// Series without the points that are no numbers, and where the others lie.
struct Plotted {
  std::vector<Series> series;
  Range x;  ///< of no points an empty one
  std::vector<double> heights;
};
Plotted plotted(std::vector<Series> series);

/// Curves over a common axis in characters, `width` x `height` of them below the title: each
/// series' mark, one character wide, at its points and on the lines between them. Far points are drawn at the edge.
std::string character_chart(const std::string& title, const std::string& x_name, const std::vector<Series>& series,
                            int width, int height, const std::function<std::string(std::size_t series)>& mark);

/// Curves over a common axis. Few points far off the others (a first epoch that diverged) do not squeeze the rest: the
/// axis ends short of them, they are drawn at its edge, and the title says how many. `mark` draws a dashed upright line
/// there, with `mark_name` beside it.
std::string line_chart(const std::string& title, const std::string& x_name, const std::vector<Series>& series,
                       std::optional<double> mark = std::nullopt, const std::string& mark_name = "");

/// Accuracy against confidence, bin by bin, beside the diagonal of perfect calibration; below it how many samples each
/// bin has.
std::string reliability_diagram(const std::string& title, const std::vector<CalibrationBin>& bins);

/// softmax(logits / T) of one sample at several temperatures, a column each; of many classes the most probable eight.
std::string temperature_chart(const std::string& title, const std::vector<std::string>& classes,
                              const std::vector<float>& logits, const std::vector<double>& temperatures);

}  // namespace retort
