// y = x in another dtype;  dx = dy in x's.
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/elementwise.h"

namespace retort {

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = x.to(dtype);

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("cast", [slot_y = y.slot(), slot_x = x.slot(), from = x.dtype()] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      accumulate(*slot_x, dy.to(from));
    });
  }
  return y;
}

}  // namespace retort
