// y = f(x);  dx = dy f'(x)
#include "engine/ops/activation.h"

#include "engine/core/saved.h"
#include "engine/core/tape.h"
#include "engine/ops/common.h"

namespace retort {

Tensor activate(const Tensor& x, const Activation& f) {
  Tensor y = Tensor::empty_like(x, x.shape());
  kernels(x).activation.forward({}, f, x.count(), x.raw(), y.raw());
  if (Tape* tape = recording({&x})) record_activation(*tape, "activate", f, x, y);
  return y;
}

void record_activation(Tape& tape, const char* op, const Activation& f, const Tensor& x, Tensor& y) {
  y.require_grad();
  tape.record(op, [f, slot_y = y.slot(), slot_x = x.slot(), x = Saved(x)]() mutable {
    const Tensor dy = take_grad(*slot_y);
    if (!dy) return;
    const Tensor input = x.take();
    Tensor dx = dy.unique() ? dy : Tensor::empty_like(dy, dy.shape());
    kernels(dy).activation.backward({}, f, dy.count(), input.raw(), dy.raw(), dx.raw());
    accumulate(*slot_x, std::move(dx));
  });
}

}  // namespace retort
