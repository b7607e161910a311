// Rows of unit length (contract: kernels/normalize.h): a warp a row up to 1024 elements, read once, else a block.
#include "kernels/normalize.h"

#include "kernels/cuda/rows.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

template <class T, class Kind>
__global__ void forward(std::int64_t rows, int classes, float floor, const T* x, T* y, float* inverse) {
  using Row = typename Kind::Row;
  const auto group = make_group<typename Kind::Group>();
  const std::int64_t row = row_of_group<typename Kind::Group>();
  if (row >= rows) return;
  const Row values(x + row * classes, classes);
  float squares = 0;
  values.each([&](int, float value) { squares += value * value; });
  const float by = 1 / sqrtf(group.sum(squares) + floor);
  values.map(y + row * classes, [&](int, float value) { return value * by; });
  if (group.rank() == 0) inverse[row] = by;
}

template <class T, class Kind>
__global__ void backward(std::int64_t rows, int classes, const T* y, const float* inverse, const T* dy, T* dx) {
  using Row = typename Kind::Row;
  const auto group = make_group<typename Kind::Group>();
  const std::int64_t row = row_of_group<typename Kind::Group>();
  if (row >= rows) return;
  const Row outputs(y + row * classes, classes), gradients(dy + row * classes, classes);
  float along = 0;
  outputs.each([&](int, float value, float d) { along += value * d; }, gradients);
  along = group.sum(along);
  const float by = inverse[row];
  outputs.map(
      dx + row * classes, [&](int, float value, float d) { return (d - value * along) * by; }, gradients);
}

/// Whether every row of all three may be read in packs; null counts as aligned.
template <class T>
bool wide(Rows rows, const T* a, const T* b, const T* c) {
  return rows.classes % kPack<T> == 0 && aligned16(a) && aligned16(b) && aligned16(c);
}

template <class T>
void normalize_forward(Stream stream, Rows rows, const T* x, T* y, float* inverse) {
  if (rows.rows * rows.classes == 0) return;
  with_rows<T>(rows.classes, wide<T>(rows, x, y, nullptr), [&](auto kind) {
    using Kind = decltype(kind);
    dev::launch("normalize_forward", forward<T, Kind>, row_grid<typename Kind::Group>(rows.rows), stream, rows.rows,
                static_cast<int>(rows.classes), static_cast<float>(kLengthFloor * kLengthFloor), x, y, inverse);
  });
}

template <class T>
void normalize_backward(Stream stream, Rows rows, const T* y, const float* inverse, const T* dy, T* dx) {
  if (rows.rows * rows.classes == 0) return;
  with_rows<T>(rows.classes, wide<T>(rows, y, dy, dx), [&](auto kind) {
    using Kind = decltype(kind);
    dev::launch("normalize_backward", backward<T, Kind>, row_grid<typename Kind::Group>(rows.rows), stream, rows.rows,
                static_cast<int>(rows.classes), y, inverse, dy, dx);
  });
}

}  // namespace

template <class T>
NormalizeKernels normalize() {
  return {.forward = entry<normalize_forward<T>>, .backward = entry<normalize_backward<T>>};
}
template NormalizeKernels normalize<float>();
template NormalizeKernels normalize<BFloat16>();

}  // namespace retort::RETORT_BACKEND
