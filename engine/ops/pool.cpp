// Pooling: each output is the maximum or the mean of a window; backward hands its gradient to the (first) maximum, or
// shares it out evenly.
#include "engine/ops/pool.h"

#include "engine/core/recorder.h"
#include "engine/core/tape.h"
#include "engine/ops/common.h"

namespace retort {

Pool2dGeometry pool_geometry(const char* op, const Shape& in, const PoolOptions& o) {
  // Padding as wide as the window would leave windows without an element; half of it is PyTorch's bound.
  check(o.kernel >= 1 && o.stride >= 1 && o.pad >= 0 && 2 * o.pad <= o.kernel, "[", op, "] window ", o.kernel,
        ", stride ", o.stride, ", padding ", o.pad,
        "; give at least 1, 1 and 0, and padding of at most half the window");
  check(in[1] + 2 * o.pad >= o.kernel && in[2] + 2 * o.pad >= o.kernel, "[", op, "] the image ", in, " with padding ",
        o.pad, " is smaller than the window of ", o.kernel, " x ", o.kernel, "; use a larger --image-size");
  return {.n = in[0],
          .h = in[1],
          .w = in[2],
          .c = in[3],
          .kernel_h = o.kernel,
          .kernel_w = o.kernel,
          .stride_h = o.stride,
          .stride_w = o.stride,
          .pad_h = o.pad,
          .pad_w = o.pad,
          .ceil_mode = o.ceil_mode,
          .count_include_pad = o.count_include_pad};
}

namespace {

Pool2dGeometry geometry(const char* op, const Tensor& x, const PoolOptions& options) {
  check_input(op, x, 4, "[n, h, w, c]");
  return pool_geometry(op, x.shape(), options);
}

void note_pool(const char* op, const Tensor& x, const Tensor& y, const PoolOptions& o) {
  if (Recorder* recorder = Recorder::active())
    recorder->note({op,
                    {x},
                    y,
                    {{"kernel", static_cast<double>(o.kernel)},
                     {"stride", static_cast<double>(o.stride)},
                     {"pad", static_cast<double>(o.pad)},
                     {"ceil", o.ceil_mode ? 1.0 : 0.0},
                     {"count_include_pad", o.count_include_pad ? 1.0 : 0.0}}});
}

}  // namespace

Tensor max_pool(const Tensor& x, const PoolOptions& options) {
  const Pool2dGeometry g = geometry("max_pool", x, options);
  Tape* tape = recording({&x});
  Tensor y = Tensor::empty_like(x, {g.n, g.p(), g.q(), g.c});
  const Tensor index = tape ? Tensor::empty(y.shape(), DType::i32, x.device()) : Tensor();
  kernels(x).pool.max_forward({}, g, x.raw(), y.raw(), static_cast<std::int32_t*>(index.raw()));
  note_pool("max_pool", x, y, options);

  if (tape) {
    y.require_grad();
    tape->record("max_pool", [g, slot_y = y.slot(), slot_x = x.slot(), index] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      Tensor dx = Tensor::empty_like(dy, {g.n, g.h, g.w, g.c});
      kernels(dy).pool.max_backward({}, g, dy.raw(), static_cast<std::int32_t*>(index.raw()), dx.raw());
      accumulate(*slot_x, std::move(dx));
    });
  }
  return y;
}

Tensor average_pool(const Tensor& x, const PoolOptions& options) {
  const Pool2dGeometry g = geometry("average_pool", x, options);
  Tensor y = Tensor::empty_like(x, {g.n, g.p(), g.q(), g.c});
  kernels(x).pool.average_forward({}, g, x.raw(), y.raw());
  note_pool("average_pool", x, y, options);

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("average_pool", [g, slot_y = y.slot(), slot_x = x.slot()] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      Tensor dx = Tensor::empty_like(dy, {g.n, g.h, g.w, g.c});
      kernels(dy).pool.average_backward({}, g, dy.raw(), dx.raw());
      accumulate(*slot_x, std::move(dx));
    });
  }
  return y;
}

Tensor adaptive_average_pool(const Tensor& x, std::int64_t p, std::int64_t q) {
  check_input("adaptive_average_pool", x, 4, "[n, h, w, c]");
  const Shape& in = x.shape();
  check(p >= 1 && q >= 1 && in[1] >= 1 && in[2] >= 1, "[adaptive_average_pool] ", in, " to ", p, " x ", q,
        "; both need at least one row and column");
  const AdaptivePoolGeometry g{in[0], in[1], in[2], in[3], p, q};
  Tensor y = Tensor::empty_like(x, {g.n, g.p, g.q, g.c});
  kernels(x).pool.adaptive_forward({}, g, x.raw(), y.raw());
  if (Recorder* recorder = Recorder::active()) recorder->note({"adaptive_average_pool", {x}, y, {}});

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("adaptive_average_pool", [g, slot_y = y.slot(), slot_x = x.slot()] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      Tensor dx = Tensor::empty_like(dy, {g.n, g.h, g.w, g.c});
      kernels(dy).pool.adaptive_backward({}, g, dy.raw(), dx.raw());
      accumulate(*slot_x, std::move(dx));
    });
  }
  return y;
}

}  // namespace retort
