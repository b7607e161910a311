#include "kernels/reference/softmax.h"

#include <algorithm>
#include <cmath>

namespace retort::reference {

template <class T>
void softmax_forward(Stream, Rows rows, double temperature, const void* x_, void* y_) {
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    const T* x = static_cast<const T*>(x_) + row * rows.classes;
    T* y = static_cast<T*>(y_) + row * rows.classes;
    const double largest = *std::max_element(x, x + rows.classes);
    double sum = 0;
    for (std::int64_t i = 0; i < rows.classes; ++i) sum += std::exp((x[i] - largest) / temperature);
    for (std::int64_t i = 0; i < rows.classes; ++i)
      y[i] = static_cast<T>(std::exp((x[i] - largest) / temperature) / sum);
  }
}

template <class T>
void softmax_backward(Stream, Rows rows, double temperature, const void* y_, const void* dy_, void* dx_) {
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    const T* y = static_cast<const T*>(y_) + row * rows.classes;
    const T* dy = static_cast<const T*>(dy_) + row * rows.classes;
    T* dx = static_cast<T*>(dx_) + row * rows.classes;
    double dot = 0;
    for (std::int64_t i = 0; i < rows.classes; ++i) dot += double{dy[i]} * y[i];
    for (std::int64_t i = 0; i < rows.classes; ++i) dx[i] = static_cast<T>(y[i] * (dy[i] - dot) / temperature);
  }
}

template void softmax_forward<float>(Stream, Rows, double, const void*, void*);
template void softmax_forward<double>(Stream, Rows, double, const void*, void*);
template void softmax_backward<float>(Stream, Rows, double, const void*, const void*, void*);
template void softmax_backward<double>(Stream, Rows, double, const void*, const void*, void*);

}  // namespace retort::reference
