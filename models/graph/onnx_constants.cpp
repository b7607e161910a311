// What a graph computes of constants alone is computed when it is read: shapes, axes, rearranged weights.
#include <algorithm>
#include <cmath>

#include "engine/core/check.h"
#include "models/graph/onnx_import.h"

namespace retort {
namespace {

Array constant_of(const OnnxNode& node, const std::string& where) {
  check(node.attributes.size() == 1, where, ": has ", node.attributes.size(), " values, expected one");
  const auto& [key, attribute] = *node.attributes.begin();
  using Kind = OnnxAttribute::Kind;
  Array array;
  switch (attribute.kind) {
    case Kind::tensor: return attribute.tensor;
    case Kind::integers: return Array::of(attribute.integers);
    case Kind::integer:
      array.whole = true;
      array.integers = {attribute.integer};
      return array;
    case Kind::real: array.reals = {attribute.real}; return array;
    case Kind::reals:
      array.dims = {static_cast<std::int64_t>(attribute.reals.size())};
      array.reals = attribute.reals;
      return array;
    default: throw Error(text(where, ": its ", key.substr(0, 40), " is of a kind that is not known here"));
  }
}

constexpr double kMaxRange = 1 << 20;

/// TensorProto.DataType of whole numbers, truth among them.
bool is_whole_type(std::int64_t type) { return (type >= 2 && type <= 7) || type == 9 || type == 12 || type == 13; }

Array cast(Array x, bool whole) {
  if (x.whole == whole) return x;
  Array y{x.dims, whole, {}, {}};
  for (std::int64_t i = 0; i < x.count(); ++i) {
    if (whole)
      y.integers.push_back(static_cast<std::int64_t>(std::clamp(std::trunc(x.at(i)), -9e18, 9e18)));
    else
      y.reals.push_back(static_cast<float>(x.at(i)));
  }
  return y;
}

}  // namespace

void OnnxImport::shape_of(const OnnxNode& node) {
  const OnnxOperand& x = operand(node, 0);
  Array shape = Array::of(x.dims);
  const std::int64_t start = integer(node, "start", 0), end = integer(node, "end", INT64_MAX);
  set_constant(node, retort::slice(shape, 0, start, end, 1, where(node)));
}

bool OnnxImport::fold(const OnnxNode& node) {
  const std::string where = this->where(node);
  if (node.op == "Constant") {
    Array array = constant_of(node, where);
    room_ += (kSteps + 1) * array.count();
    set_constant(node, std::move(array));
    return true;
  }
  bool all = !node.inputs.empty();
  for (std::size_t i = 0; i < node.inputs.size(); ++i) all &= !has(node, i) || operand(node, i).constant;
  if (!all) return false;
  const Array& x = operand(node, 0).array;
  const std::string& op = node.op;
  if (op == "Identity") {
    set_constant(node, x);
  } else if (op == "Cast") {
    set_constant(node, cast(x, is_whole_type(integer(node, "to", 1))));
  } else if (op == "ConstantOfShape") {
    const auto found = node.attributes.find("value");
    const bool given = found != node.attributes.end() && found->second.tensor.count() == 1;
    const bool whole = given && found->second.tensor.whole;
    const std::int64_t count = checked_count(x.integers);
    if (!x.whole || count < 0 || count > kMaxRepeated) refuse(node, "its shape is none; export the model again");
    Array y{x.integers, whole, {}, {}};
    if (whole)
      y.integers.assign(static_cast<std::size_t>(count), found->second.tensor.integers[0]);
    else
      y.reals.assign(static_cast<std::size_t>(count), given ? found->second.tensor.reals[0] : 0.0f);
    set_constant(node, std::move(y));
  } else if (op == "Gather") {
    set_constant(node, gather(x, constant(node, 1, "indices"), integer(node, "axis", 0), where));
  } else if (op == "Concat") {
    std::vector<const Array*> parts;
    std::int64_t count = 0;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      parts.push_back(&constant(node, i, "part"));
      count += parts.back()->count();
    }
    check_room(node, count);
    set_constant(node, retort::concat(parts, integer(node, "axis", 0), where));
  } else if (op == "Reshape") {
    const Array& shape = constant(node, 1, "shape");
    set_constant(node, retort::reshape(
                           x, resolve_shape(x.dims, shape.integers, integer(node, "allowzero", 0) == 0, where), where));
  } else if (op == "Transpose") {
    Dims order;
    for (std::size_t i = x.dims.size(); i-- > 0;) order.push_back(static_cast<std::int64_t>(i));
    set_constant(node, retort::transpose(x, integers(node, "perm", order), where));
  } else if (op == "Unsqueeze") {
    Dims dims = x.dims, axes = list(node, "axes", 1).value_or(Dims{});
    const std::size_t rank = dims.size() + axes.size();
    for (std::int64_t& axis : axes) axis = resolve_axis(axis, rank, where);
    std::ranges::sort(axes);
    for (const std::int64_t axis : axes) {
      if (axis > static_cast<std::int64_t>(dims.size())) refuse(node, "its axes are none; export the model again");
      dims.insert(dims.begin() + axis, 1);
    }
    set_constant(node, retort::reshape(x, dims, where));
  } else if (op == "Squeeze") {
    Dims dims;
    const std::optional<Dims> axes = list(node, "axes", 1);
    std::set<std::int64_t> gone;
    if (axes)
      for (const std::int64_t axis : *axes) gone.insert(resolve_axis(axis, x.dims.size(), where));
    for (std::size_t i = 0; i < x.dims.size(); ++i)
      if (axes ? !gone.contains(static_cast<std::int64_t>(i)) : x.dims[i] != 1) dims.push_back(x.dims[i]);
    set_constant(node, retort::reshape(x, dims, where));
  } else if (op == "Slice") {
    const Dims starts = list(node, "starts", 1).value_or(Dims{}), ends = list(node, "ends", 2).value_or(Dims{});
    Dims axes = list(node, "axes", 3).value_or(Dims{}), steps = list(node, "steps", 4).value_or(Dims{});
    if (axes.empty())
      for (std::size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
    if (steps.empty()) steps.assign(starts.size(), 1);
    if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
      refuse(node, "its starts and ends are of different number; export the model again");
    Array y = x;
    for (std::size_t i = 0; i < starts.size(); ++i) y = retort::slice(y, axes[i], starts[i], ends[i], steps[i], where);
    set_constant(node, std::move(y));
  } else if (op == "Where") {
    set_constant(node, select(x, constant(node, 1, "choice"), constant(node, 2, "choice"), where));
  } else if (op == "Expand") {
    set_constant(node, expand(x, constant(node, 1, "shape").integers, where));
  } else if (op == "Sqrt" || op == "Ceil" || op == "Floor") {
    if (x.whole) refuse(node, "it takes a root of whole numbers, or rounds them");
    float (*function)(float) = std::sqrt;
    if (op == "Ceil") function = std::ceil;
    if (op == "Floor") function = std::floor;
    Array y = x;
    for (float& value : y.reals) value = function(value);
    set_constant(node, std::move(y));
  } else if (op == "Clip") {
    Array y = x;
    for (const std::size_t index : {std::size_t{1}, std::size_t{2}}) {
      if (!has(node, index)) continue;
      const Array& bound = constant(node, index, "bound");
      if (bound.count() != 1 || bound.whole != x.whole) refuse(node, "its bound is not one number of its input's type");
      const auto nearest = [&](auto& values, const auto& to) {
        for (auto& value : values) value = index == 1 ? std::max(value, to) : std::min(value, to);
      };
      if (x.whole)
        nearest(y.integers, bound.integers[0]);
      else
        nearest(y.reals, bound.reals[0]);
    }
    set_constant(node, std::move(y));
  } else if (op == "Mod") {
    const Array& divisor = constant(node, 1, "divisor");
    if (!x.whole || !divisor.whole || divisor.count() != 1 || divisor.integers[0] < 1)
      refuse(node, "it divides in another way than whole numbers by one above 0");
    Array y = x;
    for (std::int64_t& value : y.integers)
      value = (value % divisor.integers[0] + divisor.integers[0]) % divisor.integers[0];
    set_constant(node, std::move(y));
  } else if (op == "Range") {
    const Array &limit = constant(node, 1, "limit"), &step = constant(node, 2, "step");
    const bool whole = x.whole && limit.whole && step.whole && x.count() == 1 && limit.count() == 1 &&
                       step.count() == 1 && step.integers[0] > 0;
    if (!whole || limit.at(0) - x.at(0) > kMaxRange)
      refuse(node, "it counts in another way than upwards in whole numbers");
    Dims values;
    for (std::int64_t value = x.integers[0]; value < limit.integers[0]; value += step.integers[0])
      values.push_back(value);
    set_constant(node, Array::of(std::move(values)));
  } else if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div" || op == "Equal") {
    const char sign = op == "Add" ? '+' : op == "Sub" ? '-' : op == "Mul" ? '*' : op == "Div" ? '/' : '=';
    set_constant(node, arithmetic(sign, x, constant(node, 1, "operand"), where));
  } else {
    return false;
  }
  return true;
}

}  // namespace retort
