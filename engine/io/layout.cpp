// Every conversion here is one permutation: memory [spatial, inner, outer] <-> file [outer, inner, spatial].
//   conv          spatial = r * s, inner = c / groups, outer = k
//   linear        spatial = 1,     inner = in,         outer = out
//   linear_image  spatial = h * w, inner = c,          outer = out
//   an image      spatial = h * w, inner = 1,          outer = c
#include "engine/io/layout.h"

#include <algorithm>

#include "engine/core/check.h"
#include "kernels/threads.h"

namespace retort {
namespace {

struct Extents {
  std::int64_t spatial, inner, outer;
};

constexpr std::int64_t kTile = 32;

/// Where a column of the file's [outer, inner * spatial] begins in memory's [spatial, inner, outer].
std::int64_t memory_row(const Extents& n, std::int64_t column) {
  return (column % n.spatial * n.inner + column / n.spatial) * n.outer;
}

/// Calls visit(first and last column, first and last outer) for tiles that cover the file's [outer, inner * spatial],
/// from several threads.
template <class Visit>
void for_each_tile(const Extents& n, const Visit& visit) {
  constexpr std::int64_t kGrain = 1 << 16;  // elements; fewer are not worth another thread
  const std::int64_t columns = n.inner * n.spatial, strip = std::max<std::int64_t>(1, kTile * n.outer);
  parallel_for((columns + kTile - 1) / kTile, (kGrain + strip - 1) / strip, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t column = begin * kTile; column < std::min(end * kTile, columns); column += kTile)
      for (std::int64_t outer = 0; outer < n.outer; outer += kTile)
        visit(column, std::min(column + kTile, columns), outer, std::min(outer + kTile, n.outer));
  });
}

// Both copy a tile by way of a buffer of the thread's own: whole cache lines in the order of either side, and no rows a
// power of two apart, which would push each other out of the cache.

template <class T>
void to_file(const Extents& n, const T* memory, T* file) {
  for_each_tile(n, [&](std::int64_t column0, std::int64_t column1, std::int64_t outer0, std::int64_t outer1) {
    T tile[kTile][kTile];
    for (std::int64_t column = column0; column < column1; ++column) {
      const T* row = memory + memory_row(n, column);
      for (std::int64_t outer = outer0; outer < outer1; ++outer) tile[outer - outer0][column - column0] = row[outer];
    }
    for (std::int64_t outer = outer0; outer < outer1; ++outer)
      std::copy_n(tile[outer - outer0], column1 - column0, file + outer * n.inner * n.spatial + column0);
  });
}

template <class T>
void from_file(const Extents& n, const T* file, T* memory) {
  for_each_tile(n, [&](std::int64_t column0, std::int64_t column1, std::int64_t outer0, std::int64_t outer1) {
    T tile[kTile][kTile];
    for (std::int64_t outer = outer0; outer < outer1; ++outer)
      std::copy_n(file + outer * n.inner * n.spatial + column0, column1 - column0, tile[outer - outer0]);
    for (std::int64_t column = column0; column < column1; ++column) {
      T* row = memory + memory_row(n, column);
      for (std::int64_t outer = outer0; outer < outer1; ++outer) row[outer] = tile[outer - outer0][column - column0];
    }
  });
}

Extents extents(const Parameter& parameter) {
  const Shape& shape = parameter.value.shape();
  switch (parameter.layout) {
    case FileLayout::conv: return {shape[0] * shape[1], shape[2], shape[3]};
    case FileLayout::linear: return {1, shape[0], shape[1]};
    case FileLayout::linear_image: return {parameter.image[0] * parameter.image[1], parameter.image[2], shape[1]};
    case FileLayout::same: break;
  }
  return {1, 1, shape.count()};
}

void check_parameter(const Parameter& parameter) {
  const Shape& shape = parameter.value.shape();
  const Shape& image = parameter.image;
  switch (parameter.layout) {
    case FileLayout::same: return;
    case FileLayout::conv:
      return check(shape.rank() == 4, parameter.name, ": a convolution's weight has shape ", shape,
                   "; expected [r, s, c, k]");
    case FileLayout::linear:
      return check(shape.rank() == 2, parameter.name, ": a linear weight has shape ", shape, "; expected [in, out]");
    case FileLayout::linear_image:
      return check(shape.rank() == 2 && image.rank() == 3 && image.count() == shape[0], parameter.name,
                   ": a linear weight has shape ", shape, "; expected [h * w * c, out] for image ", image);
  }
}

/// Splits x [n, spatial..., outer] into images and permutes each by `permute(extents, from, to)`.
template <class Permute>
void for_each_image(const Tensor& x, std::int64_t images, const Extents& n, Tensor& y, const Permute& permute) {
  const std::int64_t stride = n.spatial * n.outer;
  for (std::int64_t image = 0; image < images; ++image) {
    if (x.dtype() == DType::f32)
      permute(n, x.data<float>() + image * stride, y.data<float>() + image * stride);
    else
      permute(n, x.data<double>() + image * stride, y.data<double>() + image * stride);
  }
}

void check_images(const Tensor& x, const char* expected) {
  check(x.shape().rank() == 4 && (x.dtype() == DType::f32 || x.dtype() == DType::f64), "images: shape ", x.shape(),
        "; expected float32 or float64 ", expected);
}

}  // namespace

Shape file_shape(const Parameter& parameter) {
  check_parameter(parameter);
  const Shape& shape = parameter.value.shape();
  switch (parameter.layout) {
    case FileLayout::conv: return {shape[3], shape[2], shape[0], shape[1]};
    case FileLayout::linear:
    case FileLayout::linear_image: return {shape[1], shape[0]};
    case FileLayout::same: break;
  }
  return shape;
}

Tensor to_file_layout(const Parameter& parameter, const Tensor& value) {
  const Shape shape = file_shape(parameter);
  check(value.shape() == parameter.value.shape(), parameter.name, ": a tensor of shape ", value.shape(),
        " goes with this parameter; expected ", parameter.value.shape());
  if (value.device() != Device::cpu) return to_file_layout(parameter, value.to(Device::cpu));
  if (parameter.layout == FileLayout::same) return value.clone();
  Tensor file = Tensor::empty(shape, value.dtype());
  if (value.dtype() == DType::f32)
    to_file(extents(parameter), value.data<float>(), file.data<float>());
  else if (value.dtype() == DType::i8)
    to_file(extents(parameter), value.data<std::int8_t>(), file.data<std::int8_t>());
  else
    to_file(extents(parameter), value.data<double>(), file.data<double>());
  return file;
}

void from_file_layout(const Tensor& file, Parameter& parameter) {
  const Shape expected = file_shape(parameter);
  check(file.shape() == expected, parameter.name, ": found shape ", file.shape(), ", expected ", expected,
        "; load it into the architecture, image size and number of classes that it was saved from");
  Tensor& value = parameter.value;
  const auto is_float = [](DType dtype) { return dtype == DType::f32 || dtype == DType::f64; };
  check(file.dtype() == value.dtype() || (is_float(file.dtype()) && is_float(value.dtype())), parameter.name,
        ": found ", to_string(file.dtype()), ", expected ", to_string(value.dtype()), "; save it as that");
  const Tensor source = file.dtype() == value.dtype() ? file : file.to(value.dtype());
  // In place: the module, its optimizer and the tape keep their handles.
  if (parameter.layout == FileLayout::same) {
    value.copy_from(source);
    return;
  }
  const bool here = value.device() == Device::cpu;
  const Tensor converted = here ? value : Tensor::empty(value.shape(), value.dtype());
  if (value.dtype() == DType::f32)
    from_file(extents(parameter), source.data<float>(), converted.data<float>());
  else if (value.dtype() == DType::i8)
    from_file(extents(parameter), source.data<std::int8_t>(), converted.data<std::int8_t>());
  else
    from_file(extents(parameter), source.data<double>(), converted.data<double>());
  if (!here) value.copy_from(converted);
}

Tensor nchw_to_nhwc(const Tensor& x) {
  check_images(x, "[n, c, h, w]");
  const Shape& shape = x.shape();
  Tensor y = Tensor::empty({shape[0], shape[2], shape[3], shape[1]}, x.dtype());
  for_each_image(x, shape[0], {shape[2] * shape[3], 1, shape[1]}, y,
                 [](const Extents& n, const auto* from, auto* to) { from_file(n, from, to); });
  return y;
}

Tensor nhwc_to_nchw(const Tensor& x) {
  check_images(x, "[n, h, w, c]");
  const Shape& shape = x.shape();
  Tensor y = Tensor::empty({shape[0], shape[3], shape[1], shape[2]}, x.dtype());
  for_each_image(x, shape[0], {shape[1] * shape[2], 1, shape[3]}, y,
                 [](const Extents& n, const auto* from, auto* to) { to_file(n, from, to); });
  return y;
}

}  // namespace retort
