// y_i = exp(x_i / T) / sum_j exp(x_j / T);  dx_i = y_i * (dy_i - sum_j dy_j y_j) / T
#include "engine/ops/softmax.h"

#include <cmath>

#include "engine/core/tape.h"
#include "engine/ops/common.h"

namespace retort {

Tensor softmax(const Tensor& x, double temperature) {
  const int rank = x ? x.shape().rank() : 0;
  check_input("softmax", x, rank > 2 ? rank : 2, "[n, classes]");
  check(temperature > 0 && std::isfinite(temperature), "[softmax] the temperature is ", temperature,
        "; give one above 0");
  const std::int64_t classes = x.shape()[-1];
  const Rows rows{classes > 0 ? x.count() / classes : 0, classes};
  Tensor y = Tensor::empty_like(x, x.shape());
  kernels(x).softmax.forward({}, rows, temperature, x.raw(), y.raw());

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("softmax", [rows, temperature, slot_y = y.slot(), slot_x = x.slot(), y = y.detached()] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      Tensor dx = Tensor::empty_like(y, y.shape());
      kernels(dy).softmax.backward({}, rows, temperature, y.raw(), dy.raw(), dx.raw());
      accumulate(*slot_x, std::move(dx));
    });
  }
  return y;
}

}  // namespace retort
