// y = x w + b, then max(0, y) if relu.
//
// With dz the gradient before the activation:  db = sum over the rows of dz,  dw = x^T dz,  dx = dz w^T.
#include "engine/ops/linear.h"

#include "engine/core/recorder.h"
#include "engine/core/tape.h"
#include "engine/ops/common.h"

namespace retort {
namespace {

/// op(a) op(b) + bias, a product of matrices as g says.
Tensor product(const GemmGeometry& g, const Tensor& a, const Tensor& b, const Tensor& bias = {}, bool relu = false) {
  const GemmKernels& gemm = kernels(a).gemm;
  Tensor c = g.parameter_c ? empty_parameter(a, {g.m, g.n}) : Tensor::empty_like(a, {g.m, g.n});
  const Workspace workspace(gemm.workspace_bytes(g), a.device());
  gemm.run({}, g, a.raw(), b.raw(), bias.raw(), relu, c.raw(), workspace.data());
  return c;
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu) {
  check_input("linear", x, 2, "[n, in]");
  check_input("linear", weight, 2, "[in, out] for the weight");
  const std::int64_t n = x.shape()[0], in = x.shape()[1], out = weight.shape()[1];
  check_operand("linear", "the weight", weight, {in, out}, parameter_dtype(x.dtype()));
  if (bias) check_operand("linear", "the bias", bias, {out}, weight.dtype());
  check_device("linear", x, weight);
  Tensor filter = filter_like(x, weight);
  Tensor y = product({.m = n, .n = out, .k = in}, x, filter, bias, relu);
  if (Recorder* recorder = Recorder::active())
    recorder->note({"linear", {x, weight, bias}, y, {{"relu", relu ? 1.0 : 0.0}}});

  if (Tape* tape = recording({&x, &weight, &bias})) {
    y.require_grad();
    tape->record("linear", [n, in, out, slot_y = y.slot(), slot_x = x.slot(), slot_w = weight.slot(),
                            slot_b = bias.slot(), x = weight.slot() ? x.detached() : Tensor(),
                            filter = x.slot() ? std::move(filter) : Tensor(), y = relu ? y.detached() : Tensor()] {
      Tensor dz = take_grad(*slot_y);
      if (!dz) return;
      if (y) dz = relu_gradient(y, dz);
      if (slot_b) accumulate(*slot_b, bias_gradient(dz));
      if (slot_w)
        accumulate(*slot_w, product({.m = in, .n = out, .k = n, .transpose_a = true, .parameter_c = true}, x, dz));
      if (slot_x) accumulate(*slot_x, product({.m = n, .n = in, .k = out, .transpose_b = true}, dz, filter));
    });
  }
  return y;
}

}  // namespace retort
