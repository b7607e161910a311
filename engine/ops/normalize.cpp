// y = x / n, n the length of a row;  dx = (dy - y (dy . y)) / n
#include "engine/ops/normalize.h"

#include "engine/core/tape.h"
#include "engine/ops/common.h"

namespace retort {

Tensor normalize(const Tensor& x) {
  check_input("normalize", x, 2, "[n, k]");
  const Rows rows{x.shape()[0], x.shape()[1]};
  Tensor y = Tensor::empty_like(x, x.shape()), inverse = empty_parameter(x, {rows.rows});
  kernels(x).normalize.forward({}, rows, x.raw(), y.raw(), inverse.raw());

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("normalize",
                 [rows, slot_y = y.slot(), slot_x = x.slot(), y = y.detached(), inverse = std::move(inverse)] {
                   const Tensor dy = take_grad(*slot_y);
                   if (!dy) return;
                   Tensor dx = dy.unique() ? dy : Tensor::empty_like(dy, dy.shape());
                   kernels(dy).normalize.backward({}, rows, y.raw(), inverse.raw(), dy.raw(), dx.raw());
                   accumulate(*slot_x, std::move(dx));
                 });
  }
  return y;
}

}  // namespace retort
