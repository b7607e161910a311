#include "engine/report/network_graph.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <utility>

#include "engine/core/check.h"
#include "engine/report/svg.h"

namespace retort {
namespace {

constexpr double kWidth = 250, kHeight = 34, kGap = 18, kStep = kHeight + kGap, kBetweenLanes = 22;

/// "layer1.0" of "layer1.0.conv1": the first word, and the second where it counts.
std::string block_name(const std::string& layer) {
  const std::size_t dot = layer.find('.');
  if (dot == layer.npos) return layer;
  const std::size_t next = std::min(layer.find('.', dot + 1), layer.size());
  const bool counts = std::isdigit(static_cast<unsigned char>(layer[dot + 1])) != 0;
  return layer.substr(0, counts ? next : dot);
}

std::string shape_text(const Shape& shape) {
  switch (shape.rank()) {
    case 4: return text(shape[1], " x ", shape[2], " x ", shape[3]);
    case 3: return text(shape[1], " x ", shape[2]);
    default: return text(shape[-1]);
  }
}

/// A box with a name and, in small letters, a detail; returns where its bottom is.
Point box(Svg& svg, Point top, const std::string& name, const std::string& detail, double width = kWidth) {
  svg.rect(top.x - width / 2, top.y, width, kHeight, "box", 1, 5);
  svg.text({top.x, top.y + (detail.empty() ? 21.0 : 15.0)}, name, "ink", Anchor::middle, 12);
  if (!detail.empty()) svg.text({top.x, top.y + 28}, detail, "dim", Anchor::middle, 10);
  return {top.x, top.y + kHeight};
}

/// Where a node stands: rows from the top, lanes from the left. The first lane is the way that most goes.
struct Place {
  std::size_t row = 0, lane = 0;
};

/// A line from a node (-1: the image) to one that reads it, and the lane in which it runs.
struct Wire {
  std::ptrdiff_t from = -1, to = 0;
  std::size_t lane = 0;
};

/// Nodes in rows by their longest way from the image, in lanes like a history of commits: who reads a result first goes
/// on in its lane, the others get one of their own as far as they go. Two wires never share a place.
class Layout {
 public:
  explicit Layout(const std::vector<OutlineNode>& nodes) : places(nodes.size()) {
    const auto count = static_cast<std::ptrdiff_t>(nodes.size());
    fork(nodes, -1, {0, 0});
    for (std::ptrdiff_t node = 0; node < count; ++node) {
      Place& place = places[static_cast<std::size_t>(node)];
      place.lane = lanes_.size();
      for (const Wire& wire : wires) {
        if (wire.to != node) continue;
        place.row = std::max(place.row, row_of(wire.from) + 1);
        place.lane = std::min(place.lane, wire.lane);
      }
      for (const Wire& wire : wires)
        if (wire.to == node) lanes_[wire.lane] = {false, place.row};
      boxed.resize(std::max(boxed.size(), lanes_.size()));
      boxed[place.lane] = true;
      fork(nodes, node, place);
    }
    boxed.resize(std::max<std::size_t>(lanes_.size(), 1));
    boxed[0] = true;  // the image's
  }

  std::size_t rows() const {
    std::size_t rows = 0;
    for (const Place& place : places) rows = std::max(rows, place.row);
    return rows + 1;
  }
  std::size_t row_of(std::ptrdiff_t node) const { return node < 0 ? 0 : places[static_cast<std::size_t>(node)].row; }
  std::size_t lane_of(std::ptrdiff_t node) const { return node < 0 ? 0 : places[static_cast<std::size_t>(node)].lane; }

  std::vector<Place> places;
  std::vector<Wire> wires;
  std::vector<bool> boxed;  ///< lanes that hold boxes; the others lines alone

 private:
  struct Lane {
    bool taken = false;
    std::size_t until = 0;  ///< the row down to which it was taken
  };

  void fork(const std::vector<OutlineNode>& nodes, std::ptrdiff_t node, Place place) {
    bool first = true;
    for (std::size_t reader = 0; reader < nodes.size(); ++reader)
      for (const std::ptrdiff_t input : nodes[reader].inputs) {
        if (input != node) continue;
        const std::size_t lane = first ? place.lane : free_lane(place.row);
        first = false;
        lanes_.resize(std::max(lanes_.size(), lane + 1));
        lanes_[lane].taken = true;
        wires.push_back({node, static_cast<std::ptrdiff_t>(reader), lane});
      }
  }
  std::size_t free_lane(std::size_t row) const {
    std::size_t lane = 1;
    while (lane < lanes_.size() && (lanes_[lane].taken || lanes_[lane].until > row)) ++lane;
    return lane;
  }

  std::vector<Lane> lanes_;
};

/// The network from the image down to the logits, its first lane about top.x.
class Drawing {
 public:
  explicit Drawing(const NetworkOutline& outline) : outline_(outline), layout_(outline.nodes) {
    double x = 0;
    for (std::size_t lane = 0; lane < layout_.boxed.size(); ++lane) {
      const double wide = layout_.boxed[lane] ? kWidth : 0;
      offsets_.push_back(lane == 0 ? 0 : x + wide / 2);
      x = offsets_.back() + wide / 2 + kBetweenLanes;
    }
    right_ = std::max(kWidth / 2, x - kBetweenLanes);
  }

  /// From the middle of the first lane to the right edge of the last.
  double right() const { return right_; }
  /// Where the boxes of a network that is drawn from `top` on end, the logits' among them.
  double bottom(double top) const { return top + kStep * static_cast<double>(layout_.rows() + 1) - kGap; }

  Point draw(Svg& svg, Point top) const {
    box(svg, top, "image", outline_.input);
    const auto at = [&](std::ptrdiff_t node) {
      const double row = node < 0 ? 0 : static_cast<double>(layout_.row_of(node));
      return Point{top.x + offsets_[layout_.lane_of(node)], top.y + kStep * row};
    };
    for (const Wire& wire : layout_.wires) {
      const Point from{at(wire.from).x, at(wire.from).y + kHeight}, to = at(wire.to);
      const double lane = top.x + offsets_[wire.lane], leave = from.y + kGap / 3, arrive = to.y - kGap / 3;
      std::vector<Point> points = {from};
      if (lane != from.x) points.insert(points.end(), {{from.x, leave}, {lane, leave}});
      if (lane != to.x) points.insert(points.end(), {{lane, arrive}, {to.x, arrive}});
      points.push_back(to);
      svg.arrow(points);
    }
    for (std::size_t node = 0; node < outline_.nodes.size(); ++node)
      box(svg, at(static_cast<std::ptrdiff_t>(node)), shorten(outline_.nodes[node].name, 34),
          shorten(outline_.nodes[node].detail, 46));
    const auto last = static_cast<std::ptrdiff_t>(outline_.nodes.size()) - 1;
    const Point end{at(last).x, at(last).y + kHeight}, logits{top.x, bottom(top.y) - kHeight};
    if (end.x == logits.x)
      svg.arrow({end, logits});
    else
      svg.arrow({end, {end.x, logits.y - kGap / 3}, {logits.x, logits.y - kGap / 3}, logits});
    return box(svg, logits, "logits z", text(outline_.classes, " classes"));
  }

 private:
  const NetworkOutline& outline_;
  Layout layout_;
  std::vector<double> offsets_;
  double right_ = 0;
};

/// What an op is called where it stands alone, and what it adds to the layer that it follows.
std::string op_words(const std::string& op) {
  if (op == "batch_norm") return "batch norm";
  if (op == "adaptive_average_pool") return "average pool";
  if (op == "take_channels") return "slice";
  if (op == "activate") return "activation";
  if (op == "add_to_each") return "position";
  std::string words = op;
  std::ranges::replace(words, '_', ' ');
  return words;
}

bool moves_nothing(const std::string& op) { return op == "reshape" || op == "cast"; }

/// What begins a box of its own, though the layer that it belongs to gives its name later.
bool begins_a_box(const std::string& op) {
  return op == "conv2d" || op == "linear" || op == "layer_norm" || op == "concat";
}

/// How many ops read each slot, itself or through those that move nothing.
class Reads {
 public:
  explicit Reads(const std::vector<TracedOp>& trace) {
    for (const TracedOp& op : trace) {
      const bool alias = moves_nothing(op.op) && op.inputs.size() == 1;
      if (alias) origin_[op.output.get()] = origin(op.inputs[0].get());
      if (!alias)
        for (const auto& input : op.inputs) ++reads_[origin(input.get())];
    }
  }
  int of(const GradSlot* slot) const {
    const auto found = reads_.find(origin(slot));
    return found == reads_.end() ? 0 : found->second;
  }

 private:
  const GradSlot* origin(const GradSlot* slot) const {
    const auto found = origin_.find(slot);
    return found == origin_.end() ? slot : found->second;
  }
  std::map<const GradSlot*, const GradSlot*> origin_;
  std::map<const GradSlot*, int> reads_;
};

}  // namespace

std::vector<OutlineNode> outline_nodes(const std::vector<TracedOp>& trace, const std::vector<LayerReport>& layers,
                                       const Tensor& image) {
  std::map<const GradSlot*, std::ptrdiff_t> made = {{image.slot().get(), -1}};  // of a slot, the node that gave it
  std::map<const GradSlot*, const LayerReport*> layer_of;
  for (const LayerReport& layer : layers) layer_of[layer.slot.get()] = &layer;
  const Reads reads(trace);
  std::vector<OutlineNode> nodes;
  std::vector<bool> named;  // whether a node is a layer already
  for (const TracedOp& op : trace) {
    std::vector<std::ptrdiff_t> inputs;
    int read = 0;
    for (const auto& input : op.inputs)
      if (const auto found = made.find(input.get()); found != made.end()) {
        inputs.push_back(found->second);
        read = reads.of(input.get());
      }
    if (inputs.empty()) continue;  // of parameters alone
    const auto found = layer_of.find(op.output.get());
    const LayerReport* layer =
        found == layer_of.end() || found->second->kind == "BatchNorm2d" ? nullptr : found->second;
    const bool follows =
        inputs.size() == 1 && inputs[0] >= 0 && (read == 1 || moves_nothing(op.op)) && !begins_a_box(op.op);
    const auto last = static_cast<std::size_t>(follows ? inputs[0] : 0);
    if (moves_nothing(op.op) && inputs.size() == 1 && !layer) {
      made[op.output.get()] = inputs[0];
      continue;
    }
    // A layer's name belongs to its last op: to the reshape behind a product of tokens, for one.
    if (follows && (!layer || (moves_nothing(op.op) && !named[last]))) {
      OutlineNode& node = nodes[last];
      if (layer) {
        node = layer_node(*layer, node.inputs);
        named[last] = true;
      } else {
        node.detail += (node.detail.empty() ? "" : ", ") + op_words(op.op);
      }
      made[op.output.get()] = inputs[0];
      continue;
    }
    const std::string words = op_words(op.op);
    OutlineNode node{words, "to " + shape_text(op.shape), inputs};
    // Batch norm with a shortcut is one op: its half that belongs to the convolution, and a sum.
    if (words == "batch norm" && inputs.size() == 2 && inputs[0] >= 0) {
      nodes[static_cast<std::size_t>(inputs[0])].detail += ", " + words;
      node.name = "add";
    }
    if (layer) node = layer_node(*layer, std::move(inputs));
    made[op.output.get()] = static_cast<std::ptrdiff_t>(nodes.size());
    nodes.push_back(std::move(node));
    named.push_back(layer != nullptr);
  }
  std::map<std::string, int> counts;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (!named[i]) nodes[i].name = text(nodes[i].name, " ", ++counts[nodes[i].name]);
  return nodes;
}

OutlineNode layer_node(const LayerReport& layer, std::vector<std::ptrdiff_t> inputs) {
  return {layer.name, text(layer.kind, " to ", shape_text(layer.output)), std::move(inputs)};
}

Branches branches_of(const std::vector<OutlineNode>& nodes) {
  Branches branches;
  std::map<std::ptrdiff_t, std::size_t> reads;
  for (const OutlineNode& node : nodes) {
    branches.joins += node.inputs.size() > 1;
    for (const std::ptrdiff_t input : node.inputs) ++reads[input];
  }
  for (const auto& [node, count] : reads) branches.forks += count > 1;
  return branches;
}

std::vector<std::string> head_lines(std::int64_t classes, double temperature, double lambda) {
  const std::string t = number(temperature, 3);
  return {text("student's logits z, ", classes, " classes; teacher's logits v, live or from the store; labels"),
          text("softmax(z) at T = 1; q = softmax(z / T), p = softmax(v / T) at T = ", t),
          text("cross-entropy of softmax(z) and the labels; T\u00b2 KL(p || q)"),
          text("loss = ", number(lambda, 3), " cross-entropy + ", number(1 - lambda, 3), " T\u00b2 KL")};
}

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
  const Drawing drawing(outline);
  constexpr double kTop = 70, kPart = 168, kBetween = 20, kLabels = 80;
  const double head = drawing.bottom(kTop) + kGap;
  const std::string t = number(temperature, 3);
  const double before = 20 + kWidth / 2;
  const double after = before + std::max(drawing.right(), kWidth / 2) + kLabels + kPart + 4 * kBetween;
  const double soft = after + kPart / 2 + kBetween / 2, hard = after - kPart / 2 - kBetween / 2;
  // The teacher stands beside the network, whose logits its own are on a level with.
  const double teacher = std::max(soft + kPart + kBetween, after + drawing.right() + kBetween + kPart / 2);
  Svg svg(teacher + kPart / 2 + 20, head + 3 * kStep + 20,
          outline.name + ": as it predicts, and with the head that it is distilled by");
  svg.text({before, 52}, "before: it predicts", "head", Anchor::middle, 12);
  svg.text({after, 52}, "after: it is distilled", "head", Anchor::middle, 12);

  Point end = drawing.draw(svg, {before, kTop});
  svg.arrow({end, {before, head}});
  end = box(svg, {before, head}, "softmax", "probabilities at T = 1");

  end = drawing.draw(svg, {after, kTop});
  const double bend = end.y + kGap / 2;
  for (const double x : {hard, soft}) svg.arrow({end, {end.x, bend}, {x, bend}, {x, head}});
  box(svg, {hard, head}, "softmax(z)", "T = 1", kPart);
  box(svg, {soft, head}, "q = softmax(z / T)", "T = " + t, kPart);
  const double above = head - kStep;
  const Point logits = box(svg, {teacher, above}, "teacher's logits v", "live, or from the store", kPart);
  svg.arrow({logits, {teacher, head}});
  box(svg, {teacher, head}, "p = softmax(v / T)", "T = " + t, kPart);
  const Point labels = box(svg, {hard - kPart / 2 - kBetween - kLabels / 2, head}, "labels", "", kLabels);

  const double terms = head + kStep, loss = head + 2 * kStep, middle = (soft + teacher) / 2;
  svg.arrow({{hard, head + kHeight}, {hard, terms}});
  svg.arrow({labels, {labels.x, terms + kHeight / 2}, {hard - kPart / 2, terms + kHeight / 2}});
  svg.arrow({{soft, head + kHeight}, {soft, terms}});
  svg.arrow({{teacher, head + kHeight}, {teacher, terms}});
  box(svg, {hard, terms}, "cross-entropy", "", kPart);
  box(svg, {middle, terms}, "T\u00b2 KL(p || q)", "", teacher - soft + kPart);
  const double bottom = terms + kHeight, join = bottom + kGap / 2;
  svg.arrow({{hard, bottom}, {hard, join}, {after, join}, {after, loss}});
  svg.arrow({{middle, bottom}, {middle, join}, {after, join}, {after, loss}});
  svg.text({hard - 8, loss + 8}, "x " + number(lambda, 3), "dim", Anchor::end, 11);
  svg.text({middle + 8, loss + 8}, "x " + number(1 - lambda, 3), "dim", Anchor::start, 11);
  box(svg, {after, loss}, "loss", "", kPart);
  return svg.str();
}

}  // namespace retort
