#include <algorithm>
#include <cmath>

#include "engine/core/check.h"
#include "engine/report/charts.h"

namespace retort {
namespace {

/// What a cell shows: how dark it is, in [0, 1] or NaN for empty, and its text.
struct Cell {
  double shade;
  std::string content;
  bool marked = false;
};

// Opacities: on the darkest cell the text still has a contrast of 4.5 (tests/pages/contrast_test.py), in both colour
// schemes.
constexpr double kLightest = 0.04, kDarkest = 0.5;
constexpr std::size_t kLabelLength = 16;
constexpr double kCharacter = 7, kTitleCharacter = 8, kRow = 26;

double widest(const std::vector<std::string>& labels) {
  std::size_t length = 1;
  for (const std::string& label : labels) length = std::max(length, shorten(label, kLabelLength).size());
  return kCharacter * static_cast<double>(std::min(length, kLabelLength));
}

std::string draw(const std::string& title, const std::string& row_name, const std::vector<std::string>& row_labels,
                 const std::string& column_name, const std::vector<std::string>& column_labels,
                 const std::vector<std::vector<Cell>>& cells) {
  std::size_t content = 1;
  for (const auto& row : cells)
    for (const Cell& cell : row) content = std::max(content, cell.content.size());
  const double cell_width = std::max(30.0, kCharacter * static_cast<double>(content) + 10);
  // Labels wider than their column are written upwards.
  const double label_width = widest(column_labels);
  const bool turned = label_width > cell_width - 4;
  const double left = 34 + widest(row_labels), top = 50 + (turned ? label_width : 14);
  const double width = left + cell_width * static_cast<double>(column_labels.size()) + 14;
  const double height = top + kRow * static_cast<double>(row_labels.size()) + 14;
  const double least = kTitleCharacter * static_cast<double>(title.size()) + 24;
  Svg svg(std::max({width, least, left + kCharacter * static_cast<double>(column_name.size()) + 10}), height, title);

  svg.text({left, 40}, column_name, "dim");
  svg.text({16, top + kRow * static_cast<double>(row_labels.size()) / 2}, row_name, "dim", Anchor::middle, 12, true);
  for (std::size_t column = 0; column < column_labels.size(); ++column) {
    const double x = left + cell_width * (static_cast<double>(column) + 0.5);
    const std::string label = shorten(column_labels[column], kLabelLength);
    if (turned)
      svg.text({x + 4, top - 6}, label, "ink", Anchor::start, 12, true);
    else
      svg.text({x, top - 6}, label, "ink", Anchor::middle);
  }
  for (std::size_t row = 0; row < row_labels.size(); ++row) {
    const double y = top + kRow * static_cast<double>(row);
    svg.text({left - 6, y + 17}, shorten(row_labels[row], kLabelLength), "ink", Anchor::end);
    for (std::size_t column = 0; column < column_labels.size(); ++column) {
      const Cell& cell = cells[row][column];
      const double x = left + cell_width * static_cast<double>(column);
      svg.rect(x, y, cell_width, kRow, "grid");
      if (std::isnan(cell.shade)) continue;
      svg.rect(x + 1, y + 1, cell_width - 2, kRow - 2, "cell", kLightest + (kDarkest - kLightest) * cell.shade, 2);
      svg.text({x + cell_width / 2, y + 17}, cell.content, cell.marked ? "head" : "ink", Anchor::middle);
      if (cell.marked) svg.rect(x + 1, y + 1, cell_width - 2, kRow - 2, "chosen", 1, 2);
    }
  }
  return svg.str();
}

template <class Value>
void check_extent(const std::vector<std::vector<Value>>& values, std::size_t rows, std::size_t columns) {
  check(values.size() == rows, "heat map: ", values.size(), " rows of values for ", rows, " labels");
  for (const auto& row : values)
    check(row.size() == columns, "heat map: ", row.size(), " values in a row for ", columns, " labels");
}

}  // namespace

std::string heat_map(const std::string& title, const std::string& row_name, const std::vector<std::string>& row_labels,
                     const std::string& column_name, const std::vector<std::string>& column_labels,
                     const std::vector<std::vector<double>>& values, const HeatMapNotes& notes) {
  if (!notes.contents.empty()) check_extent(notes.contents, row_labels.size(), column_labels.size());
  check_extent(values, row_labels.size(), column_labels.size());
  double low = INFINITY, high = -INFINITY;
  for (const auto& row : values)
    for (const double value : row)
      if (std::isfinite(value)) {
        low = std::min(low, value);
        high = std::max(high, value);
      }
  std::vector<std::vector<Cell>> cells;
  for (std::size_t row = 0; row < values.size(); ++row) {
    cells.emplace_back();
    for (std::size_t column = 0; column < values[row].size(); ++column) {
      const double value = values[row][column];
      const double shade = !std::isfinite(value) ? NAN : high > low ? (value - low) / (high - low) : 0;
      cells.back().push_back({shade, notes.contents.empty() ? number(value) : notes.contents[row][column],
                              notes.marked == std::pair(row, column)});
    }
  }
  return draw(title, row_name, row_labels, column_name, column_labels, cells);
}

std::string confusion_matrix(const std::string& title, const std::vector<std::string>& classes,
                             const std::vector<std::vector<std::int64_t>>& counts) {
  check_extent(counts, classes.size(), classes.size());
  std::vector<std::vector<Cell>> cells;
  for (const auto& row : counts) {
    double total = 0;
    for (const std::int64_t count : row) total += static_cast<double>(count);
    cells.emplace_back();
    for (const std::int64_t count : row)
      cells.back().push_back({total > 0 ? static_cast<double>(count) / total : 0, std::to_string(count)});
  }
  return draw(title, "true class", classes, "predicted class", classes, cells);
}

}  // namespace retort
