// y = x * keep / (1 - p), keep drawn from (seed, stream, element);  dx = dy * keep / (1 - p), keep drawn again.
#include "engine/ops/dropout.h"

#include <array>

#include "engine/core/tape.h"
#include "engine/ops/common.h"

namespace retort {

Tensor dropout(const Tensor& x, double p, std::uint64_t seed, std::uint64_t stream) {
  check(p >= 0 && p < 1, "[dropout] p is ", p, "; give a probability of at least 0 and below 1");
  if (p == 0) return x;
  const std::array<std::uint64_t, 2> key{seed, stream};
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  kernels(x).dropout.apply({}, x.count(), p, key.data(), x.raw(), y.raw());

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record([p, key, slot_y = y.slot(), slot_x = x.slot()] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      Tensor dx = dy.unique() ? dy : Tensor::empty(dy.shape(), dy.dtype());
      kernels(dy).dropout.apply({}, dy.count(), p, key.data(), dy.raw(), dx.raw());
      accumulate(*slot_x, std::move(dx));
    });
  }
  return y;
}

}  // namespace retort
