#include "engine/ops/common.h"

namespace retort {

Tensor relu_gradient(const Tensor& y, const Tensor& dy) {
  const Tensor dx = dy.unique() ? dy : Tensor::empty(dy.shape(), dy.dtype());
  kernels(dy).elementwise.relu_backward({}, dy.count(), y.raw(), dy.raw(), dx.raw());
  return dx;
}

Tensor bias_gradient(const Tensor& dy) {
  const std::int64_t channels = dy.shape()[-1];
  Tensor db = Tensor::empty({channels}, dy.dtype());
  kernels(dy).elementwise.sum_rows({}, dy.count() / channels, channels, dy.raw(), db.raw());
  return db;
}

}  // namespace retort
