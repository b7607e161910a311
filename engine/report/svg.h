// Pictures as SVG text. Colours come from a style sheet inside each picture that follows the reader's light or dark
// setting, so a picture looks the same alone and inside a page.
//
// Classes of shapes: paper, grid, axis, mark, cell, edge, box, frame, s0 ... s5 (series: lines), f0 ... f5 (the same
// colours: areas). Classes of text: ink, dim, on (on a dark cell), head.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace retort {

/// Colours that s0 ... and f0 ... go through.
inline constexpr int kSeriesColours = 6;

/// Text for XML and HTML, between tags and in quoted attributes: & < > " ' are replaced, control characters dropped,
/// bytes that are not UTF-8 become U+FFFD.
std::string escape(std::string_view text);

/// At most so many characters; a longer text has an ellipsis after its first two thirds: what tells names apart is
/// often their end.
std::string shorten(const std::string& text, std::size_t characters);

/// A number as a reader wants it: up to `digits` significant digits, no trailing zeros; "-" for NaN.
std::string number(double value, int digits = 4);

/// About `count` round values (1, 2 or 5 times a power of ten) that enclose [low, high]; low == high and values that
/// are not finite are allowed.
std::vector<double> ticks(double low, double high, int count = 5);

enum class Anchor : unsigned char { start, middle, end };

struct Point {
  double x = 0, y = 0;
};

/// Elements are drawn in the order of the calls. `style` is a class of those above.
class Svg {
 public:
  /// `title` is read out by screen readers, and shown above the drawing where it is not empty.
  Svg(double width, double height, const std::string& title);

  void rect(double x, double y, double width, double height, const std::string& style, double opacity = 1,
            double radius = 0);
  void line(Point from, Point to, const std::string& style);
  void polyline(const std::vector<Point>& points, const std::string& style);
  /// A line that ends in an arrow head.
  void arrow(const std::vector<Point>& points);
  void circle(Point centre, double radius, const std::string& style);
  /// `size` in pixels; `turned` reads from bottom to top.
  void text(Point at, const std::string& content, const std::string& style, Anchor anchor = Anchor::start,
            double size = 12, bool turned = false);

  /// The whole picture.
  std::string str() const;

 private:
  double width_, height_;
  std::string title_, body_;
};

}  // namespace retort
