// The oracle's rows of unit length (contract: kernels/normalize.h), sums in double.
#include "kernels/normalize.h"

#include <cmath>

#include "kernels/entry.h"

namespace retort::reference {
namespace {

template <class T>
void forward(Stream, Rows rows, const T* x, T* y, T* inverse) {
  for (std::int64_t row = 0; row < rows.rows; ++row, x += rows.classes, y += rows.classes) {
    double squares = kLengthFloor * kLengthFloor;
    for (std::int64_t i = 0; i < rows.classes; ++i) squares += double{x[i]} * x[i];
    const double by = 1 / std::sqrt(squares);
    for (std::int64_t i = 0; i < rows.classes; ++i) y[i] = static_cast<T>(x[i] * by);
    inverse[row] = static_cast<T>(by);
  }
}

template <class T>
void backward(Stream, Rows rows, const T* y, const T* inverse, const T* dy, T* dx) {
  for (std::int64_t row = 0; row < rows.rows; ++row, y += rows.classes, dy += rows.classes, dx += rows.classes) {
    double along = 0;
    for (std::int64_t i = 0; i < rows.classes; ++i) along += double{dy[i]} * y[i];
    for (std::int64_t i = 0; i < rows.classes; ++i) dx[i] = static_cast<T>((dy[i] - y[i] * along) * inverse[row]);
  }
}

}  // namespace

template <class T>
NormalizeKernels normalize() {
  return {.forward = entry<forward<T>>, .backward = entry<backward<T>>};
}
template NormalizeKernels normalize<float>();
template NormalizeKernels normalize<double>();

}  // namespace retort::reference
