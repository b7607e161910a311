#include "models/graph/array.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/check.h"

namespace retort {
namespace {

constexpr std::int64_t kMaxCount = std::int64_t{1} << 40;
constexpr std::size_t kMaxRank = 16;
/// Throws unless a result is a small thing, as shapes and masks are, or no larger than its largest operand.
void check_size(const std::vector<std::int64_t>& dims, std::int64_t largest, const std::string& where) {
  const std::int64_t count = checked_count(dims);
  check(count >= 0 && count <= std::max(kMaxRepeated, largest) && dims.size() <= kMaxRank, where,
        ": repeats constants to more than 2^24 elements, expected weights or a shape; export the model again");
}

/// An array of other dims whose element i is x's element from(i).
template <class From>
Array pick(const Array& x, std::vector<std::int64_t> dims, const std::string& where, const From& from) {
  check_size(dims, x.count(), where);
  const std::int64_t count = checked_count(dims);
  Array y{std::move(dims), x.whole, {}, {}};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(from(i));
    if (x.whole)
      y.integers.push_back(x.integers[at]);
    else
      y.reals.push_back(x.reals[at]);
  }
  return y;
}

/// Elements before, along and after an axis; before and after 0 where there are none at all, whatever the extents.
struct Split {
  std::int64_t outer = 1, along = 1, inner = 1;
};

Split split_at(const std::vector<std::int64_t>& dims, std::int64_t axis) {
  const std::int64_t along = dims[static_cast<std::size_t>(axis)];
  if (std::ranges::find(dims, 0) != dims.end()) return {0, along, 0};
  Split split{1, along, 1};
  for (std::size_t i = 0; i < dims.size(); ++i)
    if (static_cast<std::int64_t>(i) != axis)
      (static_cast<std::int64_t>(i) < axis ? split.outer : split.inner) *= dims[i];
  return split;
}

/// Arrays of different extents as one, with NumPy's rules.
class Broadcast {
 public:
  Broadcast(const std::vector<const Array*>& arrays, const std::string& where) {
    for (const Array* array : arrays) dims.resize(std::max(dims.size(), array->dims.size()), 1);
    for (const Array* array : arrays)
      for (std::size_t i = 0; i < dims.size(); ++i) {
        const std::int64_t extent = along(*array, i);
        check(extent == dims[i] || extent == 1 || dims[i] == 1, where,
              ": constants of other shapes meet; export the model again");
        if (dims[i] == 1) dims[i] = extent;
      }
    std::int64_t largest = 0;
    for (const Array* array : arrays) largest = std::max(largest, array->count());
    check_size(dims, largest, where);
    count = checked_count(dims);
  }
  /// The value of x that stands at the place `index` of the whole.
  double at(const Array& x, std::int64_t index) const {
    std::int64_t place = 0, stride = 1;
    for (std::size_t i = dims.size(); i-- > 0; index /= dims[i]) {
      place += along(x, i) == 1 ? 0 : index % dims[i] * stride;
      stride *= along(x, i);
    }
    return x.at(place);
  }

  std::vector<std::int64_t> dims;
  std::int64_t count = 0;

 private:
  std::int64_t along(const Array& x, std::size_t axis) const {
    const std::size_t missing = dims.size() - x.dims.size();
    return axis < missing ? 1 : x.dims[axis - missing];
  }
};

void add_value(Array& y, double value) {
  if (y.whole)
    y.integers.push_back(static_cast<std::int64_t>(std::clamp(std::trunc(value), -9e18, 9e18)));
  else
    y.reals.push_back(static_cast<float>(value));
}

}  // namespace

std::int64_t checked_count(std::span<const std::int64_t> dims) {
  std::int64_t count = 1;
  for (const std::int64_t dim : dims) {
    if (dim < 0 || (dim > 0 && count > kMaxCount / dim)) return -1;
    count *= dim;
  }
  return count;
}

std::int64_t Array::count() const { return static_cast<std::int64_t>(whole ? integers.size() : reals.size()); }

Array Array::of(std::vector<std::int64_t> values) {
  Array array{{static_cast<std::int64_t>(values.size())}, true, {}, {}};
  array.integers = std::move(values);
  return array;
}

std::int64_t resolve_axis(std::int64_t axis, std::size_t rank, const std::string& where) {
  const auto axes = static_cast<std::int64_t>(rank);
  check(axis >= -axes && axis < axes, where, ": axis ", axis, " of a tensor of ", rank,
        " axes; export the model again");
  return axis < 0 ? axis + axes : axis;
}

std::vector<std::int64_t> resolve_shape(const std::vector<std::int64_t>& dims, const std::vector<std::int64_t>& wanted,
                                        bool zero_copies, const std::string& where) {
  std::vector<std::int64_t> shape = wanted;
  std::int64_t known = 1, open = -1;
  const auto refuse = [&] {
    throw Error(text(where, ": a shape of ", checked_count(dims), " elements cannot become one of ", wanted.size(),
                     " other extents; export the model again"));
  };
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0 && zero_copies) {
      if (i >= dims.size()) refuse();
      shape[i] = dims[i];
    }
    if (shape[i] == -1) {
      if (open >= 0) refuse();
      open = static_cast<std::int64_t>(i);
    } else {
      if (shape[i] < 0 || (shape[i] > 0 && known > kMaxCount / shape[i])) refuse();
      known *= shape[i];
    }
  }
  const std::int64_t count = checked_count(dims);
  if (open >= 0) {
    if (known == 0 || count % known != 0) refuse();
    shape[static_cast<std::size_t>(open)] = count / known;
  }
  if (checked_count(shape) != count) refuse();
  return shape;
}

Array reshape(Array x, std::vector<std::int64_t> dims, const std::string& where) {
  check(checked_count(dims) == x.count(), where, ": a constant of ", x.count(),
        " elements cannot have that shape; export the model again");
  x.dims = std::move(dims);
  return x;
}

Array transpose(const Array& x, const std::vector<std::int64_t>& order, const std::string& where) {
  std::vector<std::int64_t> sorted = order;
  std::ranges::sort(sorted);
  std::vector<std::int64_t> axes(x.dims.size());
  std::iota(axes.begin(), axes.end(), 0);
  check(sorted == axes, where, ": its axes are no order of the tensor's; export the model again");
  std::vector<std::int64_t> strides(x.dims.size(), 1), dims(x.dims.size());
  for (std::size_t i = x.dims.size(); i-- > 1;) strides[i - 1] = strides[i] * x.dims[i];
  for (std::size_t i = 0; i < order.size(); ++i) dims[i] = x.dims[static_cast<std::size_t>(order[i])];
  return pick(x, dims, where, [&](std::int64_t index) {
    std::int64_t at = 0;
    for (std::size_t i = dims.size(); i-- > 0; index /= dims[i])
      at += index % dims[i] * strides[static_cast<std::size_t>(order[i])];
    return at;
  });
}

Array concat(const std::vector<const Array*>& parts, std::int64_t axis, const std::string& where) {
  axis = resolve_axis(axis, parts[0]->dims.size(), where);
  std::vector<std::int64_t> dims = parts[0]->dims;
  std::int64_t& along = dims[static_cast<std::size_t>(axis)] = 0;
  for (const Array* part : parts) {
    bool joins = part->whole == parts[0]->whole && part->dims.size() == dims.size();
    for (std::size_t i = 0; joins && i < dims.size(); ++i)
      joins = static_cast<std::int64_t>(i) == axis || part->dims[i] == dims[i];
    check(joins, where, ": constants of other shapes are joined; export the model again");
    along += part->dims[static_cast<std::size_t>(axis)];
  }
  Array y{dims, parts[0]->whole, {}, {}};
  const std::int64_t outer = split_at(dims, axis).outer;
  for (std::int64_t o = 0; o < outer; ++o)
    for (const Array* part : parts) {
      const std::int64_t size = part->count() / outer;
      const auto append = [&](auto& to, const auto& from) {
        to.insert(to.end(), from.begin() + o * size, from.begin() + (o + 1) * size);
      };
      if (y.whole)
        append(y.integers, part->integers);
      else
        append(y.reals, part->reals);
    }
  return y;
}

Array gather(const Array& x, const Array& indices, std::int64_t axis, const std::string& where) {
  axis = resolve_axis(axis, x.dims.size(), where);
  check(indices.whole, where, ": indices that are no whole numbers; export the model again");
  const Split split = split_at(x.dims, axis);
  std::vector<std::int64_t> dims(x.dims.begin(), x.dims.begin() + axis);
  dims.insert(dims.end(), indices.dims.begin(), indices.dims.end());
  dims.insert(dims.end(), x.dims.begin() + axis + 1, x.dims.end());
  for (const std::int64_t index : indices.integers)
    check(index >= -split.along && index < split.along, where, ": index ", index, " of ", split.along,
          "; export the model again");
  const std::int64_t count = indices.count();
  return pick(x, std::move(dims), where, [&](std::int64_t i) {
    const std::int64_t inner = i % split.inner, which = i / split.inner % count, outer = i / split.inner / count;
    const std::int64_t index = indices.integers[static_cast<std::size_t>(which)];
    return (outer * split.along + (index < 0 ? index + split.along : index)) * split.inner + inner;
  });
}

Array slice(const Array& x, std::int64_t axis, std::int64_t begin, std::int64_t end, std::int64_t step,
            const std::string& where) {
  axis = resolve_axis(axis, x.dims.size(), where);
  check(step != 0, where, ": a slice of step 0; export the model again");
  const std::int64_t extent = x.dims[static_cast<std::size_t>(axis)];
  const auto bounded = [&](std::int64_t at, std::int64_t low, std::int64_t high) {
    if (at < 0) at = at < -extent ? -1 : at + extent;
    return std::clamp(at, low, high);
  };
  if (step > 0) {
    begin = begin < -extent ? 0 : bounded(begin, 0, extent);
    end = end < -extent ? 0 : bounded(end, 0, extent);
  } else {
    begin = bounded(begin, -1, extent - 1);
    end = end < -extent ? -1 : bounded(end, -1, extent - 1);
  }
  const std::int64_t span = step > 0 ? end - begin : begin - end;
  const std::int64_t size = step > 0 ? step : step < -extent ? extent + 1 : -step;
  std::vector<std::int64_t> dims = x.dims;
  dims[static_cast<std::size_t>(axis)] = span <= 0 ? 0 : 1 + (span - 1) / size;
  const Split split = split_at(x.dims, axis);
  const std::int64_t taken = dims[static_cast<std::size_t>(axis)];
  return pick(x, dims, where, [&](std::int64_t i) {
    const std::int64_t inner = i % split.inner, which = i / split.inner % taken, outer = i / split.inner / taken;
    return (outer * split.along + begin + (step > 0 ? which * size : -which * size)) * split.inner + inner;
  });
}

Array arithmetic(char op, const Array& a, const Array& b, const std::string& where) {
  const Broadcast both({&a, &b}, where);
  Array y{both.dims, op == '=' || (a.whole && b.whole), {}, {}};
  for (std::int64_t i = 0; i < both.count; ++i) {
    const double l = both.at(a, i), r = both.at(b, i);
    check(op != '/' || !y.whole || r != 0, where, ": a division by 0; export the model again");
    const double value = op == '+' ? l + r : op == '-' ? l - r : op == '*' ? l * r : op == '=' ? l == r : l / r;
    add_value(y, value);
  }
  return y;
}

Array select(const Array& condition, const Array& a, const Array& b, const std::string& where) {
  const Broadcast all({&condition, &a, &b}, where);
  Array y{all.dims, a.whole && b.whole, {}, {}};
  for (std::int64_t i = 0; i < all.count; ++i) add_value(y, all.at(all.at(condition, i) != 0 ? a : b, i));
  return y;
}

Array expand(const Array& x, const std::vector<std::int64_t>& dims, const std::string& where) {
  const Array shape{dims, true, {}, {}};
  const Broadcast both({&x, &shape}, where);
  Array y{both.dims, x.whole, {}, {}};
  for (std::int64_t i = 0; i < both.count; ++i) add_value(y, both.at(x, i));
  return y;
}

float half_to_float(std::uint16_t bits) {
  const int sign = bits >> 15, exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const float magnitude = exponent == 31  ? (mantissa ? NAN : INFINITY)
                          : exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                          : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  return sign ? -magnitude : magnitude;
}

}  // namespace retort
