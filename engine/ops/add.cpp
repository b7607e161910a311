// y = a + b;  da = db = dy
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/elementwise.h"

namespace retort {

Tensor add(const Tensor& a, const Tensor& b) {
  check(a && b && a.shape() == b.shape() && a.dtype() == b.dtype(), "[add] a is ", to_string(a.dtype()), " ", a.shape(),
        ", b ", to_string(b.dtype()), " ", b.shape(), "; give two of one shape and dtype");
  Tensor y = Tensor::empty_like(a, a.shape());
  kernels(a).elementwise.add({}, a.count(), a.raw(), b.raw(), y.raw());

  if (Tape* tape = recording({&a, &b})) {
    y.require_grad();
    tape->record("add", [slot_y = y.slot(), slot_a = a.slot(), slot_b = b.slot()] {
      Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      if (slot_a && slot_b) accumulate(*slot_b, dy);
      accumulate(slot_a ? *slot_a : *slot_b, std::move(dy));
    });
  }
  return y;
}

}  // namespace retort
