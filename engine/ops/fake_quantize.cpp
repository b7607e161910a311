// y = s (clamp(round(x / s) + z, 0, 255) - z);  dx = dy where x lies within, else 0.  Of a weight: dw = dy.
#include "engine/ops/fake_quantize.h"

#include "engine/core/tape.h"
#include "engine/ops/activation.h"
#include "engine/ops/common.h"
#include "engine/ops/int8.h"

namespace retort {

Tensor fake_quantize(const Tensor& x, const Quantization& form) {
  Tensor y = dequantize(quantize(x, form), form);
  if (Tape* tape = recording({&x})) {
    // What is rounded to the lowest and the highest of the 256 values still lies within.
    const Activation within{ActivationKind::clip, (-0.5 - form.zero) * form.scale, (255.5 - form.zero) * form.scale};
    record_activation(*tape, "fake_quantize", within, x, y);
  }
  return y;
}

Tensor fake_quantize_weight(const Tensor& weight) {
  check(weight && weight.dtype() == DType::f32 && weight.shape().rank() > 0, "[fake_quantize_weight] the weight is ",
        weight ? to_string(weight.dtype()) : "empty", "; give f32 [..., out]");
  Tensor y = Tensor::empty_like(weight, weight.shape());
  const std::int64_t out = weight.shape()[-1];
  int8_kernels("fake_quantize_weight", weight.device())
      .round_weight({}, weight.count() / out, out, weight.data<float>(), y.data<float>());
  if (Tape* tape = recording({&weight})) {
    y.require_grad();
    tape->record("fake_quantize_weight", [slot_y = y.slot(), slot_w = weight.slot()]() {
      if (Tensor dy = take_grad(*slot_y)) accumulate(*slot_w, std::move(dy));
    });
  }
  return y;
}

}  // namespace retort
