// y [..., count] = channels of x [..., c];  dx = dy in their place, 0 in the others
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/spatial.h"

namespace retort {

Tensor take_channels(const Tensor& x, std::int64_t begin, std::int64_t count) {
  check(x && x.shape().rank() >= 1 && x.shape().rank() != 3, "[take_channels] the input is ",
        x ? to_string(x.shape()) : "empty", "; give [n, h, w, c] or [n, c]");
  const Shape in = x.shape();
  const std::int64_t channels = in[-1];
  check(begin >= 0 && count >= 1 && begin <= channels - count, "[take_channels] channels ", begin, " to ",
        begin + count - 1, " of ", in, "; name some that are there");
  const std::int64_t rows = x.count() / channels;
  const auto shape = [&](std::int64_t c) {
    return in.rank() == 4 ? Shape{in[0], in[1], in[2], c} : in.rank() == 2 ? Shape{in[0], c} : Shape{c};
  };
  Tensor y = Tensor::empty_like(x, shape(count));
  kernels(x).elementwise.copy_channels({}, {rows, count, channels, begin, count, 0}, x.raw(), y.raw());

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("take_channels", [=, slot_y = y.slot(), slot_x = x.slot()] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      Tensor dx = Tensor::empty_like(dy, in);
      kernels(dy).elementwise.fill({}, dx.count(), 0, dx.raw());
      kernels(dy).elementwise.copy_channels({}, {rows, count, count, 0, channels, begin}, dy.raw(), dx.raw());
      accumulate(*slot_x, std::move(dx));
    });
  }
  return y;
}

}  // namespace retort
