// y[n, p, q, before + i] = x[n, stride*p, stride*q, i], zero in the channels before and after; dx is the inverse copy.
#include "engine/core/recorder.h"
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/elementwise.h"

namespace retort {

Tensor shortcut(const Tensor& x, std::int64_t channels, std::int64_t stride) {
  check_input("shortcut", x, 4, "[n, h, w, c]");
  const Shape& in = x.shape();
  check(channels >= in[3] && stride >= 1, "[shortcut] ", channels, " channels at stride ", stride, " from ", in,
        "; give at least as many channels as the input has, and a stride of 1 or more");
  const ShortcutGeometry g{in[0], in[1], in[2], in[3], channels, stride};
  Tensor y = Tensor::empty_like(x, {g.n, g.p(), g.q(), g.k});
  kernels(x).elementwise.shortcut_forward({}, g, x.raw(), y.raw());
  if (Recorder* recorder = Recorder::active())
    recorder->note({"shortcut", {x}, y, {{"stride", static_cast<double>(stride)}}});

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("shortcut", [g, slot_y = y.slot(), slot_x = x.slot()] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      Tensor dx = Tensor::empty_like(dy, {g.n, g.h, g.w, g.c});
      kernels(dy).elementwise.shortcut_backward({}, g, dy.raw(), dx.raw());
      accumulate(*slot_x, std::move(dx));
    });
  }
  return y;
}

}  // namespace retort
