// y = x with a border, or without its own;  dx = the window of dy where x lay, 0 elsewhere
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/spatial.h"

namespace retort {

Tensor pad(const Tensor& x, const Border& b) {
  check_input("pad", x, 4, "[n, h, w, c]");
  const Shape& in = x.shape();
  const WindowGeometry g{in[0], in[1],  in[2], in[3], b.top + in[1] + b.bottom, b.left + in[2] + b.right,
                         b.top, b.left, b.fill};
  check(g.p >= 1 && g.q >= 1, "[pad] a border of ", b.top, ", ", b.left, ", ", b.bottom, ", ", b.right,
        " leaves nothing of ", in, "; use a larger --image-size");
  Tensor y = Tensor::empty_like(x, {g.n, g.p, g.q, g.c});
  kernels(x).spatial.window({}, g, x.raw(), y.raw());

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("pad", [g, slot_y = y.slot(), slot_x = x.slot()] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      Tensor dx = Tensor::empty_like(dy, {g.n, g.h, g.w, g.c});
      kernels(dy).spatial.window({}, {g.n, g.p, g.q, g.c, g.h, g.w, -g.top, -g.left, 0}, dy.raw(), dx.raw());
      accumulate(*slot_x, std::move(dx));
    });
  }
  return y;
}

}  // namespace retort
