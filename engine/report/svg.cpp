#include "engine/report/svg.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/io/json.h"

namespace retort {
namespace {

constexpr std::string_view kStyle = R"(
.rt{background:var(--paper);--paper:#fff;--ink:#1c2430;--dim:#5b6675;--grid:#dfe4ea;--cell:#0b62b0;--s0:#0b62b0;--s1:#b8430a;--s2:#1a7f4b;
--s3:#8b3fa8;--s4:#8a5f00;--s5:#b3265e;font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
@media(prefers-color-scheme:dark){.rt{--paper:#171b21;--ink:#e8edf3;--dim:#a3afbd;--grid:#333b46;--cell:#6db3f8;
--s0:#6db3f8;--s1:#ff9d5c;--s2:#5fd197;--s3:#d59af0;--s4:#e5bd4f;--s5:#ff8fb5}}
.rt text{fill:var(--ink)}.rt .dim{fill:var(--dim)}.rt .on{fill:var(--paper)}.rt .head{font-weight:600}
.rt .paper{fill:var(--paper)}.rt .grid{stroke:var(--grid);fill:none}.rt .axis{stroke:var(--dim);fill:none}
.rt .mark{stroke:var(--dim);stroke-dasharray:4 3;fill:none}.rt .cell{fill:var(--cell)}.rt .chosen{fill:none;stroke:var(--s1);stroke-width:2}
.rt .edge{stroke:var(--dim);fill:none;stroke-width:1.4}.rt .tip{fill:var(--dim)}
.rt .box{fill:var(--paper);stroke:var(--s0);stroke-width:1.4}.rt .frame{fill:var(--grid);fill-opacity:.35;stroke:var(--grid)}
)";

const char* word(Anchor anchor) {
  return anchor == Anchor::start ? "start" : anchor == Anchor::middle ? "middle" : "end";
}

/// A coordinate: a hundredth of a pixel is enough.
std::string px(double value) {
  check(std::isfinite(value), "svg: a coordinate is ", value);
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.2f", value);
  std::string digits = buffer;
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.ends_with('.')) digits.pop_back();
  return digits == "-0" ? "0" : digits;
}

std::string series_styles() {
  std::string css;
  for (int i = 0; i < kSeriesColours; ++i)
    css += text(".rt .s", i, "{stroke:var(--s", i, ");stroke-width:2;fill:none}.rt .f", i, "{fill:var(--s", i, ")}");
  return css;
}

}  // namespace

std::string escape(std::string_view raw) {
  using nlohmann::json;
  // The library's own replacement of what is not UTF-8.
  const std::string clean = json::parse(json_text(json(std::string(raw)))).get<std::string>();
  std::string result;
  for (const char c : clean) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      case '\'': result += "&#39;"; break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') result += c;
    }
  }
  return result;
}

std::string shorten(const std::string& text, std::size_t characters) {
  const auto starts_character = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (starts_character(text[i])) starts.push_back(i);
  if (starts.size() <= characters) return text;
  const std::size_t tail = (characters - 1) / 3, head = characters - 1 - tail;
  return text.substr(0, starts[head]) + "\u2026" + text.substr(starts[starts.size() - tail]);
}

std::string number(double value, int digits) {
  if (std::isnan(value)) return "-";
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.*g", digits, value);
  return buffer;
}

std::vector<double> ticks(double low, double high, int count) {
  if (!std::isfinite(low) || !std::isfinite(high)) return {0, 1};
  if (low == high) {
    const double margin = low == 0 ? 1 : std::abs(low) / 2;
    low -= margin;
    high += margin;
  }
  const double rough = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double ratio = rough / power;
  const double step = power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
  std::vector<double> result;
  const double slack = 1e-9;  // 0.3 / 0.1 is a little less than 3
  for (double i = std::floor(low / step + slack); i <= std::ceil(high / step - slack); ++i) result.push_back(i * step);
  return result;
}

Svg::Svg(double width, double height, const std::string& title) : width_(width), height_(height), title_(title) {
  rect(0, 0, width, height, "paper");
  if (!title.empty()) text({12, 20}, title, "head", Anchor::start, 13);
}

void Svg::rect(double x, double y, double width, double height, const std::string& style, double opacity,
               double radius) {
  body_ += "<rect x=\"" + px(x) + "\" y=\"" + px(y) + "\" width=\"" + px(width) + "\" height=\"" + px(height) +
           "\" class=\"" + style + "\"";
  if (opacity != 1) body_ += " fill-opacity=\"" + px(opacity) + "\"";
  if (radius != 0) body_ += " rx=\"" + px(radius) + "\"";
  body_ += "/>\n";
}

void Svg::line(Point from, Point to, const std::string& style) {
  body_ += "<line x1=\"" + px(from.x) + "\" y1=\"" + px(from.y) + "\" x2=\"" + px(to.x) + "\" y2=\"" + px(to.y) +
           "\" class=\"" + style + "\"/>\n";
}

void Svg::polyline(const std::vector<Point>& points, const std::string& style) {
  body_ += "<polyline points=\"";
  for (const Point& point : points) body_ += px(point.x) + "," + px(point.y) + " ";
  body_ += "\" class=\"" + style + "\"/>\n";
}

void Svg::arrow(const std::vector<Point>& points) {
  polyline(points, "edge");
  const Point end = points.back(), before = points[points.size() - 2];
  const double length = std::hypot(end.x - before.x, end.y - before.y);
  if (length == 0) return;
  const double x = (end.x - before.x) / length, y = (end.y - before.y) / length;
  const Point back{end.x - 7 * x, end.y - 7 * y};
  body_ += "<polygon points=\"" + px(end.x) + "," + px(end.y) + " " + px(back.x - 3.5 * y) + "," +
           px(back.y + 3.5 * x) + " " + px(back.x + 3.5 * y) + "," + px(back.y - 3.5 * x) + "\" class=\"tip\"/>\n";
}

void Svg::circle(Point centre, double radius, const std::string& style) {
  body_ += "<circle cx=\"" + px(centre.x) + "\" cy=\"" + px(centre.y) + "\" r=\"" + px(radius) + "\" class=\"" + style +
           "\"/>\n";
}

void Svg::text(Point at, const std::string& content, const std::string& style, Anchor anchor, double size,
               bool turned) {
  body_ += "<text x=\"" + px(at.x) + "\" y=\"" + px(at.y) + "\" class=\"" + style + "\" text-anchor=\"" + word(anchor) +
           "\" font-size=\"" + px(size) + "\"";
  if (turned) body_ += " transform=\"rotate(-90 " + px(at.x) + " " + px(at.y) + ")\"";
  body_ += '>';
  body_ += escape(content) + "</text>\n";
}

std::string Svg::str() const {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"rt\" role=\"img\" width=\"" + px(width_) + "\" height=\"" +
         px(height_) + "\" viewBox=\"0 0 " + px(width_) + " " + px(height_) + "\">\n<title>" + escape(title_) +
         "</title>\n<style>" + std::string(kStyle) + series_styles() + "</style>\n" + body_ + "</svg>\n";
}

}  // namespace retort
