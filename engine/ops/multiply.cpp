// y = x s;  dx = dy s,  ds = dy x, summed over the pixels that share a factor
#include "engine/core/saved.h"
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/spatial.h"

namespace retort {
namespace {

FactorGeometry geometry(const Tensor& x, const Tensor& s) {
  if (x.shape() == s.shape()) return {x.count() / x.shape()[-1], 1, x.shape()[-1]};
  const Shape &in = x.shape(), &factors = s.shape();
  const bool fits = in.rank() == 4 && (factors == Shape{in[0], 1, 1, in[3]} || factors == Shape{in[0], in[3]});
  check(fits, "[multiply] x is ", in, ", the factor ", factors,
        "; give two of one shape, or [n, h, w, c] and one factor a channel, [n, 1, 1, c] or [n, c]");
  return {in[0], in[1] * in[2], in[3]};
}

}  // namespace

Tensor multiply(const Tensor& x, const Tensor& s) {
  check(x && s && x.dtype() == s.dtype() && x.shape().rank() >= 1 && x.count() > 0,
        "[multiply] two tensors of one dtype are needed, with an element at least");
  check_device("multiply", x, s);
  const FactorGeometry g = geometry(x, s);
  Tensor y = Tensor::empty_like(x, x.shape());
  kernels(x).spatial.multiply({}, g, x.raw(), s.raw(), y.raw());

  if (Tape* tape = recording({&x, &s})) {
    y.require_grad();
    tape->record("multiply", [g, slot_y = y.slot(), slot_x = x.slot(), slot_s = s.slot(), shape = s.shape(),
                              x = s.slot() ? Saved(x) : Saved(), s = x.slot() ? Saved(s) : Saved()]() mutable {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      if (slot_s) {
        const Tensor input = x.take();
        Tensor ds = Tensor::empty_like(dy, shape);
        kernels(dy).spatial.multiply_sum({}, g, dy.raw(), input.raw(), ds.raw());
        accumulate(*slot_s, std::move(ds));
      }
      if (slot_x) {
        const Tensor factors = s.take();
        Tensor dx = Tensor::empty_like(dy, dy.shape());
        kernels(dy).spatial.multiply({}, g, dy.raw(), factors.raw(), dx.raw());
        accumulate(*slot_x, std::move(dx));
      }
    });
  }
  return y;
}

}  // namespace retort
