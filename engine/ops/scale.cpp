// y = factor * x;  dx = factor * dy
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/elementwise.h"

namespace retort {

Tensor scale(const Tensor& x, double factor) {
  Tensor y = Tensor::empty_like(x, x.shape());
  kernels(x).elementwise.scale({}, x.count(), factor, x.raw(), y.raw());

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("scale", [factor, slot_y = y.slot(), slot_x = x.slot()] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      Tensor dx = dy.unique() ? dy : Tensor::empty_like(dy, dy.shape());
      kernels(dy).elementwise.scale({}, dy.count(), factor, dy.raw(), dx.raw());
      accumulate(*slot_x, std::move(dx));
    });
  }
  return y;
}

}  // namespace retort
