// y = x * keep / (1 - p), keep drawn from (seed, stream, element);  dx = dy * keep / (1 - p), keep drawn again.
#include "engine/ops/dropout.h"

#include <array>

#include "engine/core/tape.h"
#include "engine/ops/common.h"

namespace retort {

Tensor dropout_key(std::uint64_t seed, std::uint64_t stream, Device device) {
  const std::array<std::int64_t, 2> key{static_cast<std::int64_t>(seed), static_cast<std::int64_t>(stream)};
  return Tensor::from<std::int64_t>({2}, key).to(device);
}

Tensor dropout(const Tensor& x, double p, const Tensor& key, std::uint64_t layer) {
  check(p >= 0 && p < 1, "[dropout] p is ", p, "; give a probability of at least 0 and below 1");
  if (p == 0) return x;
  check_operand("dropout", "the key", key, {2}, DType::i64);
  check_device("dropout", x, key);
  Tensor y = Tensor::empty_like(x, x.shape());
  kernels(x).dropout.apply({}, x.count(), p, static_cast<const std::uint64_t*>(key.raw()), layer, x.raw(), y.raw());

  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("dropout", [p, key, layer, slot_y = y.slot(), slot_x = x.slot()] {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      Tensor dx = dy.unique() ? dy : Tensor::empty_like(dy, dy.shape());
      kernels(dy).dropout.apply({}, dy.count(), p, static_cast<const std::uint64_t*>(key.raw()), layer, dy.raw(),
                                dx.raw());
      accumulate(*slot_x, std::move(dx));
    });
  }
  return y;
}

}  // namespace retort
