#include "engine/report/network_graph.h"

#include <cctype>

#include "engine/core/check.h"
#include "engine/report/svg.h"

namespace retort {
namespace {

constexpr double kWidth = 240, kHeight = 34, kGap = 18;

/// "layer1.0" of "layer1.0.conv1": the first word, and the second where it counts.
std::string block_name(const std::string& layer) {
  const std::size_t dot = layer.find('.');
  if (dot == layer.npos) return layer;
  const std::size_t next = std::min(layer.find('.', dot + 1), layer.size());
  const bool counts = std::isdigit(static_cast<unsigned char>(layer[dot + 1])) != 0;
  return layer.substr(0, counts ? next : dot);
}

std::string shape_text(const Shape& shape) {
  return shape.rank() == 4 ? text(shape[1], " x ", shape[2], " x ", shape[3]) : text(shape[-1]);
}

/// A box with a name and, in small letters, a detail; returns where its bottom is.
Point box(Svg& svg, Point top, const std::string& name, const std::string& detail, double width = kWidth) {
  svg.rect(top.x - width / 2, top.y, width, kHeight, "box", 1, 5);
  svg.text({top.x, top.y + (detail.empty() ? 21.0 : 15.0)}, name, "ink", Anchor::middle, 12);
  if (!detail.empty()) svg.text({top.x, top.y + 28}, detail, "dim", Anchor::middle, 10);
  return {top.x, top.y + kHeight};
}

/// The blocks below each other, down to the logits.
Point chain(Svg& svg, Point top, const NetworkOutline& outline, const std::vector<Block>& blocks) {
  Point end = box(svg, top, "image", outline.input);
  const auto next = [&](const std::string& name, const std::string& detail) {
    const Point from = end;
    svg.arrow({from, {from.x, from.y + kGap}});
    end = box(svg, {from.x, from.y + kGap}, name, detail);
  };
  for (const Block& block : blocks) next(shorten(block.name, 28), block.detail);
  next("logits z", text(outline.classes, " classes"));
  return end;
}

}  // namespace

std::vector<Block> blocks_of(const std::vector<LayerReport>& layers) {
  struct Sum {
    std::string name, kind;
    std::int64_t layers = 0, parameters = 0;
    Shape output;
  };
  std::vector<Sum> sums;
  for (const LayerReport& layer : layers) {
    if (layer.kind == "BatchNorm2d") {  // belongs to its convolution
      if (!sums.empty()) sums.back().parameters += layer.parameters;
      continue;
    }
    const std::string name = block_name(layer.name);
    if (sums.empty() || sums.back().name != name) sums.push_back({name, layer.kind, 0, 0, {}});
    ++sums.back().layers;
    sums.back().parameters += layer.parameters;
    sums.back().output = layer.output;
  }
  std::vector<Block> blocks;
  blocks.reserve(sums.size());
  for (const Sum& sum : sums)
    blocks.push_back({sum.name, text(sum.layers > 1 ? text(sum.layers, " layers") : sum.kind, ", ", sum.parameters,
                                     " parameters", sum.layers > 1 ? "" : ", to " + shape_text(sum.output))});
  return blocks;
}

std::string network_graph(const NetworkOutline& outline, double temperature, double lambda) {
  const std::vector<Block> blocks = blocks_of(outline.layers);
  const double step = kHeight + kGap, top = 70;
  const double head = top + step * static_cast<double>(blocks.size() + 2);
  const std::string t = number(temperature, 3);
  constexpr double kPart = 168, kBetween = 20, kLabels = 80;
  const double before = 20 + kWidth / 2, after = before + kWidth / 2 + kLabels + kPart + 4 * kBetween;
  const double soft = after + kPart / 2 + kBetween / 2, hard = after - kPart / 2 - kBetween / 2;
  const double teacher = soft + kPart + kBetween;
  Svg svg(teacher + kPart / 2 + 20, head + 3 * step + 20,
          outline.name + ": as it predicts, and with the head that it is distilled by");
  svg.text({before, 52}, "before: it predicts", "head", Anchor::middle, 12);
  svg.text({after, 52}, "after: it is distilled", "head", Anchor::middle, 12);

  Point end = chain(svg, {before, top}, outline, blocks);
  svg.arrow({end, {before, head}});
  end = box(svg, {before, head}, "softmax", "probabilities at T = 1");

  end = chain(svg, {after, top}, outline, blocks);
  const double bend = end.y + kGap / 2;
  for (const double x : {hard, soft}) svg.arrow({end, {end.x, bend}, {x, bend}, {x, head}});
  box(svg, {hard, head}, "softmax(z)", "T = 1", kPart);
  box(svg, {soft, head}, "q = softmax(z / T)", "T = " + t, kPart);
  const double above = head - step;
  const Point logits = box(svg, {teacher, above}, "teacher's logits v", "live, or from the store", kPart);
  svg.arrow({logits, {teacher, head}});
  box(svg, {teacher, head}, "p = softmax(v / T)", "T = " + t, kPart);
  const Point labels = box(svg, {hard - kPart / 2 - kBetween - kLabels / 2, head}, "labels", "", kLabels);

  const double terms = head + step, loss = head + 2 * step, middle = (soft + teacher) / 2;
  svg.arrow({{hard, head + kHeight}, {hard, terms}});
  svg.arrow({labels, {labels.x, terms + kHeight / 2}, {hard - kPart / 2, terms + kHeight / 2}});
  svg.arrow({{soft, head + kHeight}, {soft, terms}});
  svg.arrow({{teacher, head + kHeight}, {teacher, terms}});
  box(svg, {hard, terms}, "cross-entropy", "", kPart);
  box(svg, {middle, terms}, "T\u00b2 KL(p || q)", "", 2 * kPart + kBetween);
  const double bottom = terms + kHeight, join = bottom + kGap / 2;
  svg.arrow({{hard, bottom}, {hard, join}, {after, join}, {after, loss}});
  svg.arrow({{middle, bottom}, {middle, join}, {after, join}, {after, loss}});
  svg.text({hard - 8, loss + 8}, "x " + number(lambda, 3), "dim", Anchor::end, 11);
  svg.text({middle + 8, loss + 8}, "x " + number(1 - lambda, 3), "dim", Anchor::start, 11);
  box(svg, {after, loss}, "loss", "", kPart);
  return svg.str();
}

}  // namespace retort
