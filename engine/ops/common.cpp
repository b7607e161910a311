#include "engine/ops/common.h"

namespace retort {

Tensor relu_gradient(const Tensor& y, const Tensor& dy) {
  Tensor dx = dy.unique() ? dy : Tensor::empty_like(dy, dy.shape());
  kernels(dy).elementwise.relu_backward({}, dy.count(), y.raw(), dy.raw(), dx.raw());
  return dx;
}

Tensor bias_gradient(const Tensor& dy) {
  const std::int64_t channels = dy.shape()[-1];
  const std::int64_t rows = dy.count() / channels;
  Tensor db = empty_parameter(dy, {channels});
  const ElementwiseKernels& kernel = kernels(dy).elementwise;
  const Workspace workspace(kernel.sum_rows_workspace_bytes(rows, channels), dy.device());
  kernel.sum_rows({}, rows, channels, dy.raw(), db.raw(), workspace.data());
  return db;
}

}  // namespace retort
