// Softmax with temperature (contract: kernels/softmax.h): one read and one write of each element up to 1024 classes.
#include "kernels/softmax.h"

#include "kernels/cuda/rows.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

template <class T, class Kind>
__global__ void forward(std::int64_t rows, int classes, float inverse_temperature, const T* x, T* y) {
  using Row = typename Kind::Row;
  const auto group = make_group<typename Kind::Group>();
  const std::int64_t row = row_of_group<typename Kind::Group>();
  if (row >= rows) return;
  Row values(x + row * classes, classes);
  float largest = -INFINITY;
  values.each([&](int, float value) { largest = Max{}(largest, value); });
  largest = group.max(largest);
  const auto power = [&](float value) { return exponential<T>((value - largest) * inverse_temperature); };
  float sum = 0;
  values.update([&](int, float& value) {
    const float e = power(value);
    value = e;
    sum += e;
  });
  const float scale = 1 / group.sum(sum);
  values.map(y + row * classes, [&](int, float value) { return (Row::kHeld ? value : power(value)) * scale; });
}

template <class T, class Kind>
__global__ void backward(std::int64_t rows, int classes, float inverse_temperature, const T* y, const T* dy, T* dx) {
  using Row = typename Kind::Row;
  const auto group = make_group<typename Kind::Group>();
  const std::int64_t row = row_of_group<typename Kind::Group>();
  if (row >= rows) return;
  const Row outputs(y + row * classes, classes), gradients(dy + row * classes, classes);
  float dot = 0;
  outputs.each([&](int, float p, float d) { dot += p * d; }, gradients);
  dot = group.sum(dot);
  outputs.map(
      dx + row * classes, [&](int, float p, float d) { return p * (d - dot) * inverse_temperature; }, gradients);
}

/// Whether every row of all three may be read in packs; null counts as aligned.
template <class T>
bool wide(Rows rows, const T* a, const T* b, const T* c) {
  return rows.classes % kPack<T> == 0 && aligned16(a) && aligned16(b) && aligned16(c);
}

template <class T>
void softmax_forward(Stream stream, Rows rows, double temperature, const T* x, T* y) {
  if (rows.rows * rows.classes == 0) return;
  with_rows<T>(rows.classes, wide<T>(rows, x, y, nullptr), [&](auto kind) {
    using Kind = decltype(kind);
    dev::launch("softmax_forward", forward<T, Kind>, row_grid<typename Kind::Group>(rows.rows), stream, rows.rows,
                static_cast<int>(rows.classes), static_cast<float>(1 / temperature), x, y);
  });
}

template <class T>
void softmax_backward(Stream stream, Rows rows, double temperature, const T* y, const T* dy, T* dx) {
  if (rows.rows * rows.classes == 0) return;
  with_rows<T>(rows.classes, wide<T>(rows, y, dy, dx), [&](auto kind) {
    using Kind = decltype(kind);
    dev::launch("softmax_backward", backward<T, Kind>, row_grid<typename Kind::Group>(rows.rows), stream, rows.rows,
                static_cast<int>(rows.classes), static_cast<float>(1 / temperature), y, dy, dx);
  });
}

}  // namespace

template <class T>
SoftmaxKernels softmax() {
  return {.forward = entry<softmax_forward<T>>, .backward = entry<softmax_backward<T>>};
}
template SoftmaxKernels softmax<float>();
template SoftmaxKernels softmax<BFloat16>();

}  // namespace retort::RETORT_BACKEND
