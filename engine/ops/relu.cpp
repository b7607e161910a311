// y = max(0, x);  dx = dy where y > 0, else 0
#include "engine/core/recorder.h"
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/elementwise.h"

namespace retort {

Tensor relu(const Tensor& x) {
  Tensor y = Tensor::empty_like(x, x.shape());
  kernels(x).elementwise.relu_forward({}, x.count(), x.raw(), y.raw());
  if (Recorder* recorder = Recorder::active()) recorder->note({"relu", {x}, y, {}});

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("relu", [slot_y = y.slot(), slot_x = x.slot(), y = y.detached()] {
      const Tensor dy = take_grad(*slot_y);
      if (dy) accumulate(*slot_x, relu_gradient(y, dy));
    });
  }
  return y;
}

}  // namespace retort
