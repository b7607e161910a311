// The oracle's softmax (contract: kernels/softmax.h), the row's maximum subtracted so that nothing overflows.
#include "kernels/softmax.h"

#include <algorithm>
#include <cmath>

#include "kernels/entry.h"

namespace retort::reference {
namespace {

template <class T>
void forward(Stream, Rows rows, double temperature, const T* x, T* y) {
  for (std::int64_t row = 0; row < rows.rows; ++row, x += rows.classes, y += rows.classes) {
    const double largest = *std::max_element(x, x + rows.classes);
    double sum = 0;
    for (std::int64_t i = 0; i < rows.classes; ++i) sum += std::exp((x[i] - largest) / temperature);
    for (std::int64_t i = 0; i < rows.classes; ++i)
      y[i] = static_cast<T>(std::exp((x[i] - largest) / temperature) / sum);
  }
}

template <class T>
void backward(Stream, Rows rows, double temperature, const T* y, const T* dy, T* dx) {
  for (std::int64_t row = 0; row < rows.rows; ++row, y += rows.classes, dy += rows.classes, dx += rows.classes) {
    double dot = 0;
    for (std::int64_t i = 0; i < rows.classes; ++i) dot += double{dy[i]} * y[i];
    for (std::int64_t i = 0; i < rows.classes; ++i) dx[i] = static_cast<T>(y[i] * (dy[i] - dot) / temperature);
  }
}

}  // namespace

template <class T>
SoftmaxKernels softmax() {
  return {.forward = entry<forward<T>>, .backward = entry<backward<T>>};
}
template SoftmaxKernels softmax<float>();
template SoftmaxKernels softmax<double>();

}  // namespace retort::reference
