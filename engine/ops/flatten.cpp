// y = the elements of x under another shape; dx = those of dy. Nothing moves.
#include "engine/core/recorder.h"
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/elementwise.h"

namespace retort {

Tensor reshape(const Tensor& x, const Shape& shape) {
  check(x && x.count() == shape.count(), "[reshape] the input is ", x ? to_string(x.shape()) : "empty", ", not ", shape,
        "; give a shape of as many elements");
  Tensor y = x.reshaped(shape);
  if (Recorder* recorder = Recorder::active()) recorder->note({"reshape", {x}, y, {}});

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("reshape", [slot_y = y.slot(), slot_x = x.slot(), in = x.shape()] {
      Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      dy = dy.reshaped(in);
      accumulate(*slot_x, std::move(dy));
    });
  }
  return y;
}

Tensor flatten(const Tensor& x) {
  check_input("flatten", x, 4, "[n, h, w, c]");
  const Shape& in = x.shape();
  return reshape(x, {in[0], in[1] * in[2] * in[3]});
}

}  // namespace retort
