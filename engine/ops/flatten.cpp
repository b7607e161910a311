// y [n, h*w*c] = the elements of x [n, h, w, c]; dx = those of dy. Nothing moves.
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/elementwise.h"

namespace retort {

Tensor flatten(const Tensor& x) {
  check_input("flatten", x, 4, "[n, h, w, c]");
  const Shape& in = x.shape();
  Tensor y = x.reshaped({in[0], in[1] * in[2] * in[3]});

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("flatten", [slot_y = y.slot(), slot_x = x.slot(), in] {
      Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      dy = dy.reshaped(in);
      accumulate(*slot_x, std::move(dy));
    });
  }
  return y;
}

}  // namespace retort
